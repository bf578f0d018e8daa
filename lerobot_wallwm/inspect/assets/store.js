// The page's data and the person's corrections. Everything that comes from the dataset is shown as text, never as markup.
const $ = id => document.getElementById(id);
function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node && key !== 'style') node[key] = value;
    else if (key === 'style') Object.assign(node.style, value);
    else node.setAttribute(key, value);
  }
  node.append(...children.filter(c => c !== null && c !== undefined));
  return node;
}
const INDEX = JSON.parse($('index').textContent);
const ROWS = new Map(INDEX.episodes.map(row => [row.i, row]));
const cache = new Map();

// An episode's data, or null while the page is still loading it. The last 24 stay parsed.
function episodeData(i) {
  if (cache.has(i)) return cache.get(i);
  const node = $('episode-' + i);
  if (!node || (document.readyState === 'loading' && !node.nextElementSibling)) return null;
  const data = JSON.parse(node.textContent);
  cache.set(i, data);
  if (cache.size > 24) cache.delete(cache.keys().next().value);
  return data;
}

const KEY = 'wallwm-corrections:' + INDEX.dataset.fingerprint + ':' + INDEX.events;
let edits = [], exported = '[]';
try { const kept = JSON.parse(localStorage.getItem(KEY) || '[]'); if (Array.isArray(kept)) edits = kept.filter(e => e && ROWS.has(e.episode)); } catch { /* a browser without storage */ }
const history = [];
const listeners = [];

const KINDS = {caption: 'captions', delete: 'deleted', boundary: 'moves', insert: 'added'};
function byKind(list, i) {
  const own = {captions: [], deleted: [], moves: [], added: []};
  for (const e of list) if (e.episode === i && KINDS[e.kind]) own[KINDS[e.kind]].push(e);
  return own;
}
function corrected(data) {
  const own = byKind(edits, data.i);
  try { return correct(data.events, own); } catch { return correct(data.events, {captions: own.captions, deleted: [], moves: [], added: []}); }
}
// Keeps the edits if they can be applied together; returns the reason if not.
function tryEdits(data, next) {
  try { correct(data.events, byKind(next, data.i)); } catch (error) { return error.message; }
  setEdits(next);
  return '';
}
function setEdits(next) {
  history.push(edits);
  if (history.length > 500) history.shift();
  edits = next;
  changed();
}
function changed() {
  try { localStorage.setItem(KEY, JSON.stringify(edits)); } catch { /* see above */ }
  for (const listener of listeners) listener();
}
function undo() { if (history.length) { edits = history.pop(); changed(); } }

// Each returns a reason if it is refused. A move that contradicts no other replaces an earlier one of the same boundary.
function moveBoundary(data, level, origin, to) {
  const isAdded = origin.at !== undefined;
  const before = edits.find(e => e.episode === data.i && (isAdded ? e.kind === 'insert' && e.at === origin.at : e.kind === 'boundary' && e.old === origin));
  const next = edits.filter(e => e !== before);
  if (isAdded) return tryEdits(data, [...next, {...before, at: to}]);
  const coarser = before && LEVELS.indexOf(before.level) < LEVELS.indexOf(level) ? before.level : level;
  return tryEdits(data, [...next, {kind: 'boundary', episode: data.i, level: coarser, old: origin, new: to}]);
}
function addBoundary(data, level, at) {
  return tryEdits(data, [...edits, {kind: 'insert', episode: data.i, level, at}]);
}
// An added boundary is taken back. One that a person raised to a coarser level goes back to its own first.
function deleteBoundary(data, level, origin, at) {
  const added = edits.find(e => e.kind === 'insert' && e.episode === data.i && e.at === at && LEVELS.indexOf(e.level) <= LEVELS.indexOf(level));
  if (added) return tryEdits(data, edits.filter(e => e !== added));
  if (origin.at !== undefined) return 'it was added at a coarser level: delete it there';
  const next = edits.filter(e => !(e.kind === 'boundary' && e.episode === data.i && e.old === origin && LEVELS.indexOf(e.level) <= LEVELS.indexOf(level)));
  return tryEdits(data, [...next, {kind: 'delete', episode: data.i, level, at: origin}]);
}
const oneLine = text => text.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').replace(/\p{Zs}/gu, ' ').trim().slice(0, 2000);
function editCaption(data, level, own, text, label) {
  const clean = oneLine(text);
  const verb = label.trim().toLowerCase(), valid = /^[a-z][a-z0-9 _-]{0,39}$/.test(verb);
  if (!Array.isArray(own)) {  // arrays have an `at` of their own
    setEdits(edits.map(e => {
      if (!(e.kind === 'insert' && e.episode === data.i && e.level === level && e.at === own.at)) return e;
      return {...e, ...(clean && {caption: clean}), ...(valid && {label: verb})};
    }));
    return;
  }
  const [start, end] = own, original = data.events[level].find(e => e[0] === start && e[1] === end);
  const next = edits.filter(e => !(e.kind === 'caption' && e.episode === data.i && e.level === level && e.start === start && e.end === end));
  const edit = {kind: 'caption', episode: data.i, level, start, end, old: original[COL.caption], new: clean || original[COL.caption]};
  if (verb !== original[COL.label] && valid) edit.label = verb;
  if (edit.new !== original[COL.caption] || edit.label) next.push(edit);
  setEdits(next);
}
const where = e => e.old > 0 ? e.old : e.at || e.start || 0;
function correctionsFile() {
  const order = [...edits].sort((a, b) => a.episode - b.episode || a.kind.localeCompare(b.kind) || where(a) - where(b));
  return {format: 'wallwm-corrections', format_version: 1, dataset: INDEX.dataset, corrections: order};
}
function exportEdits() {
  const blob = new Blob([JSON.stringify(correctionsFile(), null, 2) + '\n'], {type: 'application/json'});
  const link = el('a', {href: URL.createObjectURL(blob), download: 'corrections.json'});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  exported = JSON.stringify(edits);
}
window.addEventListener('beforeunload', event => { if (JSON.stringify(edits) !== exported && edits.length && !navigator.webdriver) event.preventDefault(); });

// One colour a label: soft ground, same for the same word everywhere.
const HUES = {task: 215, pick: 205, place: 265, reach: 200, approach: 180, grasp: 35, lift: 95, move: 230, lower: 285, release: 12, retreat: 320, wait: 60, open: 20, close: 42, manipulate: 150};
function colour(label) {
  let hue = HUES[label];
  if (hue === undefined) { hue = 0; for (const c of String(label)) hue = (hue * 31 + c.codePointAt(0)) % 360; }
  return label === 'wait' ? '#e6e9ed' : `hsl(${hue} 62% 86%)`;
}
const seconds = frames => (frames / INDEX.fps).toFixed(2) + ' s';
