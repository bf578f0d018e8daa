// Opens episodes, plays them, and reads the keyboard.
function openEpisode(i, at = 0) {
  const data = episodeData(i);
  if (!data) { setTimeout(() => openEpisode(i, at), 50); return; }
  open = data; frame = at; picked = null; stop();
  const row = ROWS.get(i);
  $('task').textContent = `${i}  ${row.task}`;
  const chips = Object.entries(data.facts).map(([name, fact]) => el('span', {className: 'flag' + (fact.bad ? '' : ' ok'), textContent: `${name}: ${fact.bad ? (name === 'sync' ? 'quarantined' : 'excluded') : 'passed'}`}));
  $('chips').replaceChildren(...chips);
  $('facts').replaceChildren(...Object.entries(data.facts).map(([name, fact]) => el('div', {className: 'card'}, el('h3', {textContent: name}), facts(fact.rows.length > 1 ? fact.rows : fact.rows[0] || {}))));
  buildCameras(data);
  buildTimeline();
  drawRows();
  try { window.history.replaceState(null, '', '#' + i); } catch { /* some browsers forbid it for files */ }
}
let playing = 0;
function stop() { cancelAnimationFrame(playing); playing = 0; $('play').textContent = 'Play'; }
function play() {
  if (playing) { stop(); return; }
  $('play').textContent = 'Pause';
  const first = frame >= open.length - 1 ? 0 : frame, begun = performance.now();
  const tick = now => {
    seek(first + Math.max(0, now - begun) / 1000 * INDEX.fps);
    if (frame >= open.length - 1) stop(); else playing = requestAnimationFrame(tick);
  };
  playing = requestAnimationFrame(tick);
}
function show(name) {
  for (const other of ['episodes', 'clusters']) { $(other).hidden = other !== name; $('tab-' + other).setAttribute('aria-selected', String(other === name)); }
  if (name === 'clusters') buildClusters();
}
const KEYS = [['← →', 'one frame; with Shift ten'], ['↑ ↓', 'previous and next episode'], ['[ ]', 'previous and next boundary'], ['Alt ← →', 'move the chosen boundary by a frame'], ['v', 'confirm the chosen boundary'], ['s', 'split the action at this frame'], ['Delete', 'delete the chosen boundary'], ['e', 'edit the action caption'], ['Space', 'play and pause'], ['u', 'undo'], ['/', 'search']];
function pressed(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.id !== 'scrub';
  if (event.key === 'Escape') event.target.blur();
  if (typing || $('help').open || !open || $('episodes').hidden || event.ctrlKey || event.metaKey) return;
  if (event.key === ' ' && event.target.tagName === 'BUTTON') return;
  const by = event.shiftKey ? 10 : 1;
  const acts = {
    ArrowLeft: () => event.altKey ? nudge(-1) : seek(frame - by), ArrowRight: () => event.altKey ? nudge(1) : seek(frame + by),
    ArrowUp: () => neighbour(-1), ArrowDown: () => neighbour(1), '[': () => step(-1), ']': () => step(1), ' ': play, u: undo,
    v: () => nudge(0), s: () => split('action'), Delete: join, Backspace: join, e: () => $('detail').querySelector('input[data-level=action]').focus(), '/': () => $('search').focus(), '?': () => $('help').showModal(),
  };
  if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
}
function refreshEdits() {
  $('edit-count').textContent = edits.length ? `${edits.length} correction${edits.length > 1 ? 's' : ''}` : 'No corrections';
  $('export').disabled = !edits.length; $('undo').disabled = !history.length;
  if (open) buildTimeline();
  drawRows();
}
listeners.push(refreshEdits);
$('name').textContent = INDEX.dataset.name;
$('counts').textContent = `${INDEX.episodes.length} episodes at ${INDEX.fps} Hz: ` + LEVELS.map(l => `${INDEX.counts[l]} ${l}s`).join(', ') + (INDEX.warnings.length ? `; ${INDEX.warnings.length} warnings (see Clusters)` : '');
$('keys').append(...KEYS.flatMap(([key, what]) => [el('dt', {}, el('kbd', {textContent: key})), el('dd', {textContent: what})]));
$('scrub').oninput = () => seek(Number($('scrub').value));
$('play').onclick = play; $('undo').onclick = undo; $('export').onclick = exportEdits; $('help-open').onclick = () => $('help').showModal();
$('tab-episodes').onclick = () => show('episodes'); $('tab-clusters').onclick = () => show('clusters');
document.addEventListener('keydown', pressed);
window.addEventListener('resize', () => { if (open) buildTimeline(); });
buildFilters(); refilter(); refreshEdits();
const wanted = Number(location.hash.slice(1) || NaN);
if (INDEX.episodes.length) openEpisode(ROWS.has(wanted) ? wanted : INDEX.episodes[0].i);
document.documentElement.dataset.ready = String(Math.round(performance.now()));
