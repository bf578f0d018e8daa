// Clusters with examples, and what balancing does to their shares. Thumbnails are drawn when they come into sight.
function facts(value) { // any JSON value as nested lists of text
  if (value === null || typeof value !== 'object') return document.createTextNode(typeof value === 'number' && !Number.isInteger(value) ? value.toPrecision(4) : String(value));
  if (Array.isArray(value) && value.length && value.every(row => row && typeof row === 'object' && !Array.isArray(row))) {
    const names = [...new Set(value.flatMap(Object.keys))];
    const line = (tag, cells) => el('tr', {}, ...cells.map(cell => el(tag, {}, cell)));
    return el('table', {}, line('th', names.map(name => name.replaceAll('_', ' '))), ...value.map(row => line('td', names.map(name => name in row ? facts(row[name]) : ''))));
  }
  if (Array.isArray(value)) return document.createTextNode(value.map(item => JSON.stringify(item)).join(', '));
  const list = el('dl');
  for (const [key, item] of Object.entries(value)) list.append(el('dt', {textContent: key.replaceAll('_', ' ')}), el('dd', {}, facts(item)));
  return list;
}
function buildClusters() {
  const page = $('clusters');
  if (page.childElementCount) return;
  const seen = new IntersectionObserver(entries => { for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); entry.target.draw(); } }, {rootMargin: '200px'});
  for (const warning of INDEX.warnings) page.append(el('div', {className: 'warn', textContent: warning}));
  if (!INDEX.clusters.length) page.append(el('p', {className: 'soft', textContent: 'This folder has no clusters.parquet, so there are no clusters to show.'}));
  for (const clustering of INDEX.clusters) {
    const {before, after} = clustering.measures;
    page.append(el('h2', {textContent: `${clustering.name.replaceAll('_', ' ')}: ${clustering.clusters.length} clusters`}), el('p', {className: 'soft', textContent: `before balancing: Gini ${before.gini.toFixed(3)}, normalised entropy ${before.entropy.toFixed(3)}; after: Gini ${after.gini.toFixed(3)}, normalised entropy ${after.entropy.toFixed(3)}`}));
    const top = Math.max(...clustering.clusters.map(c => Math.max(c.before, c.after)));
    page.append(el('div', {className: 'cards'}, ...clustering.clusters.map(c => {
      const bars = el('div', {className: 'bars'});
      for (const side of ['before', 'after']) { const bar = el('i', {className: side}); bar.style.width = c[side] / top * 100 + '%'; bars.append(el('span', {textContent: side}), el('div', {}, bar), el('span', {textContent: (c[side] * 100).toFixed(2) + ' %'})); }
      const thumbs = el('div', {className: 'thumbs'}, ...c.examples.map(example => thumbnail(example)));
      for (const t of thumbs.children) seen.observe(t);
      return el('div', {className: 'card'}, el('h3', {textContent: `cluster ${c.id}, ${c.events} events`}), el('p', {className: 'soft', textContent: c.captions.join(' / ')}), thumbs, bars);
    })));
  }
  if (Object.keys(INDEX.balance).length) page.append(el('h2', {textContent: 'From summary.json'}), el('div', {className: 'card'}, facts(INDEX.balance)));
}
function thumbnail([episode, start, end, level]) {
  const canvas = el('canvas', {width: 64, height: 48});
  const button = el('button', {title: `episode ${episode}, ${level}, frames ${start} to ${end}`, onclick: () => { show('episodes'); openEpisode(episode, start); }}, canvas);
  button.draw = () => {
    const data = episodeData(episode);
    if (!data) { setTimeout(button.draw, 200); return; }
    const camera = INDEX.cameras.find(c => data.sheets[c] && !data.sheets[c].problem);
    if (camera) drawFrame(canvas, episode, camera, data.sheets[camera], Math.floor((start + end) / 2));
  };
  return button;
}
