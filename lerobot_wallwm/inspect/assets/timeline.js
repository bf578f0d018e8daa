// Four caption tracks, their boundaries, and the curves under them, all on one scale of frames.
const RIGHT = 78, narrow = window.matchMedia('(max-width: 700px)'), dark = window.matchMedia('(prefers-color-scheme: dark)');
const gutter = () => narrow.matches ? 72 : 112;
const ink = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
for (const media of [narrow, dark]) media.addEventListener('change', () => open && buildTimeline());
let open = null, frame = 0, picked = null, tree = null, curveRows = [];

function buildTimeline() {
  tree = corrected(open);
  const line = $('timeline'), percent = f => f / open.length * 100 + '%';
  line.replaceChildren(...LEVELS.map(level => {
    const lane = el('div', {className: 'lane', 'data-level': level});
    let before = null;
    for (const e of tree[level]) {
      const twin = before && before[COL.caption] === e[COL.caption] && e[COL.source] === 'human';
      const box = el('div', {className: 'event' + (e[COL.source] === 'human' ? ' human' : '') + (twin ? ' twin' : ''), textContent: e[COL.caption], title: `${e[COL.caption]}\n${e[COL.label]}, frames ${e[0]} to ${e[1]}, ${seconds(e[1] - e[0])}` + (twin ? '\nThe same caption as the event before: say what each of them is.' : '')});
      before = e;
      Object.assign(box.style, {left: percent(e[0]), width: percent(e[1] - e[0]), background: colour(e[COL.label])});
      box.onclick = () => seek(e[0]);
      box.event = e;
      lane.append(box);
    }
    for (const e of tree[level]) if (e[0] > 0) lane.append(boundary(level, e, percent));
    return el('div', {className: 'track'}, el('span', {textContent: level}), lane);
  }), el('canvas', {id: 'curves'}), legend(), el('div', {id: 'playhead'}));
  // A box that is too short for its caption shows its verb, whole or not at all.
  for (const box of line.querySelectorAll('.event')) for (const text of [box.event[COL.label], '']) if (box.scrollWidth >= box.clientWidth - 1 && box.textContent) box.textContent = text;
  drawCurves();
  showFrame();
}
function legend() {
  const entries = [[ink('mark'), 'boundary'], ['#e08a00', 'confidence below 0.75'], ['#d0453b', 'below 0.5'], [ink('human'), 'human; gripper'], [ink('blue'), 'state'], [ink('action'), 'action']];
  return el('div', {className: 'legend'}, ...entries.map(([background, name]) => el('span', {}, el('i', {style: {background}}), name)));
}
function boundary(level, e, percent) {
  const c = e[COL.confidence], sure = e[COL.source] === 'human' ? 'human' : c < 0.5 ? 'faint' : c < 0.75 ? 'weak' : '';
  const is = picked && picked.level === level && sameOrigin(picked.origin, e[6]);
  const handle = el('button', {className: `bound ${sure}${is ? ' picked' : ''}`, title: `${level} boundary at ${e[0]}: ${e[COL.source]}, confidence ${c.toFixed(2)}. Drag, or Alt + arrow keys; Delete joins the two.`, 'aria-label': `${level} boundary at frame ${e[0]}, confidence ${c.toFixed(2)}`});
  handle.style.left = percent(e[0]);
  handle.onfocus = () => pick(level, e[6], e[0]);
  handle.onpointerdown = down => {
    down.preventDefault(); handle.setPointerCapture(down.pointerId); pick(level, e[6], e[0]);
    const [least, most] = room(level, e[0], tree), box = handle.parentElement.getBoundingClientRect();
    let to = e[0];
    handle.onpointermove = m => {
      to = Math.min(most, Math.max(least, Math.round((m.clientX - box.left) / box.width * open.length)));
      handle.style.left = percent(to); frame = to; showFrame();
    };
    handle.onpointerup = () => { handle.onpointermove = handle.onpointerup = null; if (to !== e[0]) moveTo(to); };
  };
  return handle;
}
function pick(level, origin, at) {
  picked = {level, origin};
  for (const b of document.querySelectorAll('.bound.picked')) b.classList.remove('picked');
  const lane = document.querySelector(`.lane[data-level="${level}"]`), found = tree[level].findIndex(e => sameOrigin(e[6], origin));
  if (lane && found > 0) lane.querySelectorAll('.bound')[found - 1].classList.add('picked');
  seek(at);
}
function pickedEvent() { return picked && tree[picked.level].find(e => e[0] > 0 && sameOrigin(e[6], picked.origin)); }
function say(problem) { $('detail').querySelector('.said').textContent = problem; }
function moveTo(to) {
  const was = picked.origin, added = was.at !== undefined;
  if (added) picked = {level: picked.level, origin: {at: to}};
  const problem = moveBoundary(open, picked.level, was, to);
  if (problem) { picked = {level: picked.level, origin: was}; buildTimeline(); say(problem); } else seek(to);
}
function nudge(by) {
  const e = pickedEvent();
  if (!e) return;
  const [least, most] = room(picked.level, e[0], tree);
  moveTo(Math.min(most, Math.max(least, e[0] + by)));
}
// Cuts the event of a level at the playhead, or joins the two events at the chosen boundary.
function split(level) {
  const problem = addBoundary(open, level, frame);
  if (problem) { say(problem); return; }
  const made = tree[level].find(e => e[0] === frame);
  pick(level, made[6], frame);
  say('Both halves have the same caption: write what each of them is.');
  const field = document.querySelector(`#detail input[aria-label="${level} caption"]`);
  if (field) { field.focus(); field.select(); }
}
function join() {
  const e = pickedEvent();
  if (!e) return;
  const problem = deleteBoundary(open, picked.level, picked.origin, e[0]);
  if (problem) say(problem); else seek(e[0]);
}
function step(by) { // to the next or previous boundary of any level, and picks it at its coarsest
  const all = LEVELS.slice(1).flatMap(level => tree[level].filter(e => e[0] > 0).map(e => ({level, e})));
  const rest = all.filter(b => by > 0 ? b.e[0] > frame : b.e[0] < frame).sort((a, b) => by * (a.e[0] - b.e[0]));
  if (rest.length) pick(rest[0].level, rest[0].e[6], rest[0].e[0]);
}
function seek(to) { frame = Math.min(open.length - 1, Math.max(0, Math.round(to))); showFrame(); }

function showFrame() {
  const x = `calc(${gutter()}px + (100% - ${gutter() + RIGHT}px) * ${(frame + 0.5) / open.length})`;
  $('playhead').style.left = x;
  $('scrub').max = open.length - 1; $('scrub').value = frame;
  $('clock').textContent = `${frame} / ${open.length}\n${seconds(frame)}`;
  for (const box of document.querySelectorAll('.event')) box.classList.toggle('current', box.event[0] <= frame && frame < box.event[1]);
  showFrames(frame);
  showDetail();
  drawValues();
}
function showDetail() {
  const holder = $('detail');
  const key = LEVELS.map(l => tree[l].findIndex(e => e[0] <= frame && frame < e[1])).join() + LEVELS.map(l => tree[l].some(e => e[0] === frame)).join() + JSON.stringify(picked) + JSON.stringify(edits);
  if (holder.dataset.key === open.i + key) return;
  holder.dataset.key = open.i + key;
  const captions = el('div', {className: 'card'}, el('h3', {textContent: 'Captions here'}));
  for (const level of LEVELS) {
    const e = tree[level].find(x => x[0] <= frame && frame < x[1]);
    const own = e[7], original = Array.isArray(own) && open.events[level].find(x => x[0] === own[0] && x[1] === own[1]);
    const changed = column => original && original[column] !== e[column] ? 'changed' : '';
    const text = el('input', {value: e[COL.caption], maxLength: 2000, 'aria-label': level + ' caption', 'data-level': level, className: changed(COL.caption), disabled: !own, title: own ? '' : 'Cut at a coarser level; split here at this level to give it a caption of its own.'});
    const verb = el('input', {value: e[COL.label], maxLength: 40, 'aria-label': level + ' label', className: changed(COL.label), disabled: !own});
    text.onchange = verb.onchange = () => editCaption(open, level, own, text.value, verb.value);
    captions.append(el('label', {}, el('span', {textContent: level}), text, verb));
  }
  const card = el('div', {className: 'card'}, el('h3', {textContent: 'Boundary'}));
  const e = pickedEvent();
  if (e) {
    const list = el('dl');
    for (const [name, value] of [['level', picked.level], ['frame', `${e[0]} (${seconds(e[0])})` + (e[6].at !== undefined ? ', added' : e[6] !== e[0] ? `, was ${e[6]}` : '')], ['found by', e[COL.source]], ['confidence', e[COL.confidence].toFixed(2)]]) list.append(el('dt', {textContent: name}), el('dd', {textContent: value}));
    const buttons = el('div', {className: 'row', style: {marginTop: '8px'}});
    for (const [name, act] of [['- 1', () => nudge(-1)], ['+ 1', () => nudge(1)], ['To this frame', () => moveTo(frame)], ['Confirm', () => moveTo(e[0])], ['Delete', join]]) buttons.append(el('button', {textContent: name, onclick: act}));
    card.append(list, buttons);
  } else card.append(el('p', {className: 'soft', textContent: 'Click a boundary, or go to one with [ and ].'}));
  const cuts = el('div', {className: 'row cuts', style: {marginTop: '8px'}}, el('span', {className: 'soft', textContent: 'Split here:'}));
  for (const level of LEVELS.slice(1)) cuts.append(el('button', {textContent: level, disabled: frame === 0 || tree[level].some(x => x[0] === frame), onclick: () => split(level)}));
  card.append(cuts);
  card.append(el('p', {className: 'said flag', role: 'status', style: {background: 'none'}}));
  holder.replaceChildren(captions, card);
}

function decode(row) { return row.values || (row.values = Uint8Array.from(atob(row.data), c => c.charCodeAt(0))); }
function drawCurves() {
  const canvas = $('curves'), width = canvas.parentElement.clientWidth, rows = open.curves.rows || [];
  const names = new Map();
  for (const row of rows) {
    const same = names.get(row.name);
    if (same && same.length < 2) same.push(row); else names.set(same ? row.kind + ' ' + row.name : row.name, [row]);
  }
  curveRows = [...names].sort((a, b) => b[1][0].grip - a[1][0].grip);
  const each = curveRows.length > 10 ? 26 : 36, height = Math.max(24, curveRows.length * each + 8), scale = window.devicePixelRatio || 1;
  canvas.width = width * scale; canvas.height = height * scale; canvas.style.height = height + 'px';
  const pen = canvas.getContext('2d');
  pen.scale(scale, scale); pen.font = (narrow.matches ? 10 : 12) + 'px system-ui, "DejaVu Sans", sans-serif';
  if (open.curves.problem) { pen.fillStyle = ink('red'); pen.fillText(open.curves.problem, 10, 16); return; }
  const span = width - gutter() - RIGHT;
  pen.strokeStyle = ink('line');
  for (const e of tree.action) if (e[0]) { const x = gutter() + e[0] / open.length * span; pen.beginPath(); pen.moveTo(x, 0); pen.lineTo(x, height); pen.stroke(); }
  curveRows.forEach(([name, group], k) => {
    const top = k * each + 8, low = Math.min(...group.map(r => r.low)), high = Math.max(...group.map(r => r.high));
    pen.fillStyle = ink('soft'); pen.fillText(name.replace('.pos', '').slice(0, narrow.matches ? 12 : 17), 10, top + each / 2);
    for (const row of [...group].reverse()) {
      const values = decode(row), n = values.length;
      pen.strokeStyle = row.kind === 'action' ? ink('action') : row.grip ? ink('human') : ink('blue'); pen.lineWidth = row.kind === 'action' ? 1 : 1.5;
      pen.beginPath();
      for (let t = 0; t < n; t++) {
        const value = row.low + values[t] / 255 * (row.high - row.low), unit = high > low ? (value - low) / (high - low) : 0.5;
        pen.lineTo(gutter() + (t + 0.5) / n * span, top + (1 - unit) * (each - 8));
      }
      pen.stroke();
    }
  });
  canvas.each = each;
  canvas.onclick = event => seek((event.offsetX - gutter()) / span * open.length);
}
function drawValues() {
  const canvas = $('curves'), width = canvas.parentElement.clientWidth;
  if (open.curves.problem) return;
  const pen = canvas.getContext('2d');
  pen.clearRect(width - RIGHT + 4, 0, RIGHT, 10000); pen.fillStyle = ink('ink');
  curveRows.forEach(([, group], k) => {
    const row = group[0], values = decode(row), at = Math.min(values.length - 1, Math.floor((frame + 0.5) / open.length * values.length));
    pen.fillText((row.low + values[at] / 255 * (row.high - row.low)).toPrecision(3), width - RIGHT + 10, k * canvas.each + 8 + canvas.each / 2);
  });
}
