// The list of episodes: only the rows in sight exist.
const ROW = 62;
let shown = [];
const FILTERS = {
  all: ['all episodes', () => true],
  unsure: ['has a boundary below 0.5', r => r.least < 0.5],
  bad: ['quarantined or excluded', r => r.bad.length > 0],
  good: ['not quarantined or excluded', r => r.bad.length === 0],
  human: ['corrected by a person', r => r.human || edits.some(e => e.episode === r.i)],
};
function buildFilters() {
  $('filter').append(...Object.entries(FILTERS).map(([value, [name]]) => el('option', {value, textContent: name})));
  let timer = 0;
  $('search').oninput = () => { clearTimeout(timer); timer = setTimeout(refilter, 60); };
  $('filter').onchange = $('sort').onchange = refilter;
  $('list').onscroll = drawRows;
}
function refilter() {
  const words = $('search').value.toLowerCase().split(/\s+/).filter(Boolean), pass = FILTERS[$('filter').value][1];
  const order = {index: (a, b) => a.i - b.i, least: (a, b) => a.least - b.least || a.i - b.i, length: (a, b) => b.length - a.length || a.i - b.i}[$('sort').value];
  shown = INDEX.episodes.filter(row => {
    row.text = row.text || (row.i + ' ' + row.task + ' ' + row.captions.join(' ')).toLowerCase();
    return pass(row) && words.every(word => row.text.includes(word));
  }).sort(order);
  $('found').textContent = `${shown.length} of ${INDEX.episodes.length} episodes`;
  $('rows').style.height = shown.length * ROW + 'px';
  drawRows();
}
function drawRows() {
  const list = $('list'), from = Math.max(0, Math.floor(list.scrollTop / ROW) - 3), to = Math.min(shown.length, from + Math.ceil(list.clientHeight / ROW) + 7);
  $('rows').replaceChildren(...shown.slice(from, to).map((row, k) => {
    const strip = el('div', {className: 'strip'});
    row.strip.forEach(([start, label], n) => {
      const end = n + 1 < row.strip.length ? row.strip[n + 1][0] : row.length, part = el('i');
      Object.assign(part.style, {left: start / row.length * 100 + '%', width: (end - start) / row.length * 100 + '%', background: colour(label).replace('86%', '70%')});
      strip.append(part);
    });
    const meta = el('div', {className: 'meta'}, el('span', {textContent: `${seconds(row.length)}, ${row.strip.length} actions, least ${row.least.toFixed(2)}`, title: 'length, number of actions, confidence of the least sure boundary'}), ...row.bad.map(name => el('span', {className: 'flag', textContent: name})));
    if (FILTERS.human[1](row)) meta.append(el('span', {className: 'flag human', textContent: 'human'}));
    const item = el('div', {className: 'item', role: 'option', 'aria-selected': String(!!open && open.i === row.i), onclick: () => openEpisode(row.i)}, el('div', {className: 'text'}, el('b', {textContent: row.i}), row.task), meta, strip);
    item.style.top = (from + k) * ROW + 'px';
    return item;
  }));
}
function neighbour(by) {
  const at = shown.findIndex(row => open && row.i === open.i), next = shown[at < 0 ? 0 : at + by];
  if (!next) return;
  openEpisode(next.i);
  const list = $('list'), top = shown.indexOf(next) * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
}
