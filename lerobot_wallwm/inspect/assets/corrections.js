// The Human layer in the browser; the same rules as lerobot_wallwm/processors/human_layer.py, which a test compares.
// Every correction refers to the events as the page was given them.
const LEVELS = ['task', 'subtask', 'action', 'segment'];
const COL = {start: 0, end: 1, label: 2, caption: 3, confidence: 4, source: 5};

function depths(events) {
  const depth = new Map();
  LEVELS.forEach((level, d) => events[level].forEach(e => { if (e[0] > 0 && !depth.has(e[0])) depth.set(e[0], d); }));
  return depth;
}

// A row of an event here: [start, end, label, caption, confidence, source, origin, own]. `origin` says what its left end is:
// the frame of a boundary that the page was given, or {at} for a boundary that a person added. `own` says whose caption it
// shows: [start, end] of an event that the page was given, {at, level} for what begins at an added boundary, or null.
const clone = (tree, change) => Object.fromEntries(LEVELS.map(level => [level, change(tree[level], level)]));

function withCaptions(events, captions) {
  return clone(events, (rows, level) => rows.map(event => {
    const row = [...event.slice(0, 6), event[0], [event[0], event[1]]];
    const edit = captions.find(c => c.level === level && c.start === event[0] && c.end === event[1]);
    if (edit) { row[COL.caption] = edit.new; if (edit.label) row[COL.label] = edit.label; human(row); }
    return row;
  }));
}
function human(row) { row[COL.confidence] = 1; row[COL.source] = 'human'; }

function withoutBoundaries(tree, deleted) {
  const depth = depths(tree), gone = new Map();
  for (const {level, at} of deleted) {
    const rank = LEVELS.indexOf(level);
    if (!(depth.get(at) <= rank)) throw new Error(`${at} is not a ${level} boundary`);
    gone.set(at, Math.max(gone.get(at) || 0, rank));
  }
  return clone(tree, (rows, level) => rows.reduce((kept, row) => {
    if (gone.get(row[0]) >= LEVELS.indexOf(level)) kept[kept.length - 1][COL.end] = row[COL.end];
    else kept.push(row);
    return kept;
  }, []));
}

function withMoves(tree, moves) {
  const length = tree.task[tree.task.length - 1][COL.end], depth = depths(tree), target = new Map();
  for (const move of moves) {
    const rank = LEVELS.indexOf(move.level);
    if (!(depth.get(move.old) <= rank)) throw new Error(`${move.old} is not a ${move.level} boundary`);
    if (!(move.new > 0 && move.new < length)) throw new Error('outside the episode');
    const other = target.get(move.old);
    if (other && other.new !== move.new) throw new Error('moves to two frames');
    if (!other || rank < LEVELS.indexOf(other.level)) target.set(move.old, move);
  }
  const place = new Map([[0, 0], [length, length]]);
  for (const [frame, d] of depth) {
    let at = target.has(frame) ? target.get(frame).new : frame;
    const passed = [...target.values()].filter(m => frame < m.old ? at >= m.new : frame > m.old && at <= m.new);
    for (const move of passed) {
      if (target.has(frame) || d <= LEVELS.indexOf(move.level)) throw new Error(`would pass the ${LEVELS[d]} boundary at ${frame}`);
    }
    const right = passed.filter(m => m.old < frame).map(m => m.new);
    if (passed.length) at = right.length ? Math.max(...right) : Math.min(...passed.map(m => m.new));
    place.set(frame, at);
  }
  const moved = new Set([...target.values()].map(m => m.new));
  return clone(tree, rows => rows.map(row => {
    const copy = [place.get(row[0]), place.get(row[1]), ...row.slice(2)];
    if (moved.has(copy[0])) human(copy);
    return copy;
  }).filter(row => row[0] < row[1]));
}

function withBoundaries(tree, added) {
  const length = tree.task[tree.task.length - 1][COL.end];
  for (const item of [...added].sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level) || a.at - b.at)) {
    if (!(item.at < length)) throw new Error('outside the episode');
    tree = clone(tree, (rows, level) => LEVELS.indexOf(level) < LEVELS.indexOf(item.level) ? rows : rows.flatMap(row => {
      const own = level === item.level;
      if (!(row[0] <= item.at && item.at < row[1])) return [row];
      if (own && row[0] === item.at) throw new Error(`${item.at} is a ${level} boundary already`);
      const left = [row[0], item.at, ...row.slice(2)], right = [item.at, ...row.slice(1)];
      if (row[0] < item.at) { right[6] = {at: item.at}; right[7] = own ? {at: item.at, level} : null; }
      if (own) { if (item.caption) right[COL.caption] = item.caption; if (item.label) right[COL.label] = item.label; }
      human(right);
      return row[0] < item.at ? [left, right] : [right];
    }));
  }
  return tree;
}

// edits: {captions: [{level, start, end, new, label}], deleted: [{level, at}], moves: [{level, old, new}],
// added: [{level, at, caption, label}]}. Throws an Error where the layer would refuse.
function correct(events, edits) {
  const tree = withMoves(withoutBoundaries(withCaptions(events, edits.captions), edits.deleted), edits.moves);
  return withBoundaries(tree, edits.added);
}

const sameOrigin = (a, b) => a === b || (a && b && a.at !== undefined && a.at === b.at);

// The frames to which the boundary at `at` of a level may move: [least, most].
function room(level, at, current) {
  const bounds = [0, ...current[level].map(e => e[COL.end])];
  return [Math.max(...bounds.filter(b => b < at)) + 1, Math.min(...bounds.filter(b => b > at)) - 1];
}
