// Find and replace in the captions of all episodes at once; one step for Undo.
function pattern(find, words) {
  const text = find.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  // Whole words of Latin script: languages that write without spaces have no others.
  const edge = '[\\p{Script=Latin}\\p{N}]';
  return new RegExp(words ? `(?<!${edge})${text}(?!${edge})` : text, 'giu');
}
// The edits with the replacement made, how many captions change, and in how many episodes; null while the page still loads.
function replaced(find, put, words) {
  const match = pattern(find, words), change = text => text.search(match) < 0 ? text : oneLine(text.replace(match, () => put).replace(/  +/g, ' ')) || text;
  const name = e => [e.episode, e.level, e.start, e.end].join(), known = new Map(), rest = [], touched = new Set();
  let captions = 0;
  const count = (before, after, episode) => { if (before !== after) { captions++; touched.add(episode); } return after; };
  for (const e of edits) {
    if (e.kind === 'caption') known.set(name(e), e);
    else rest.push(e.kind === 'insert' && e.caption ? {...e, caption: count(e.caption, change(e.caption), e.episode)} : e);
  }
  for (const {i} of INDEX.episodes) {
    const data = episodeData(i);
    if (!data) return null;
    for (const level of LEVELS) for (const [start, end, , original] of data.events[level]) {
      const place = {kind: 'caption', episode: i, level, start, end}, before = known.get(name(place)), text = before ? before.new : original;
      const after = count(text, change(text), i);
      if (after === text) continue;
      if (after === original && !(before && before.label)) known.delete(name(place));
      else known.set(name(place), {...before, ...place, old: original, new: after});
    }
  }
  return {edits: [...rest, ...known.values()], captions, episodes: touched.size};
}
function proposed() { return $('find').value.trim() ? replaced($('find').value.trim(), $('put').value.trim(), $('words').checked) : {captions: 0, episodes: 0}; }
function tellReplaced() {
  const made = proposed();
  $('would').textContent = made ? `${made.captions} captions of ${made.episodes} episodes` : 'the page is still loading';
  $('replace-all').disabled = !made || !made.captions;
}
function replaceAll() {
  const made = proposed();
  if (made && made.captions) setEdits(made.edits);
  tellReplaced();
}
$('replace-open').onclick = () => { tellReplaced(); $('replace').showModal(); };
for (const id of ['find', 'put', 'words']) $(id).oninput = tellReplaced;
$('replace-all').onclick = replaceAll;
