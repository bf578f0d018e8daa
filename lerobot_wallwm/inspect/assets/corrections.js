// The Human layer in the browser; the same rules as lerobot_wallwm/processors/human_layer.py, which a test compares.
// Every correction refers to the events as the page was given them.
const LEVELS = ['task', 'subtask', 'action', 'segment'];
const COL = {start: 0, end: 1, label: 2, caption: 3, confidence: 4, source: 5};

function depths(events) {
  const depth = new Map();
  LEVELS.forEach((level, d) => events[level].forEach(e => { if (e[0] > 0 && !depth.has(e[0])) depth.set(e[0], d); }));
  return depth;
}

// moves: [{level, old, new}], captions: [{level, start, end, new, label}]. Throws an Error where the layer would refuse.
function correct(events, moves, captions) {
  const length = events.task[0][COL.end], depth = depths(events), target = new Map();
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
  const moved = new Set([...target.values()].map(m => m.new)), result = {};
  for (const level of LEVELS) {
    result[level] = [];
    for (const event of events[level]) {
      const copy = [place.get(event[0]), place.get(event[1]), ...event.slice(2), event[0], event[1]];
      const edit = captions.find(c => c.level === level && c.start === event[0] && c.end === event[1]);
      if (edit) { copy[COL.caption] = edit.new; if (edit.label) copy[COL.label] = edit.label; }
      if (edit || moved.has(copy[0])) { copy[COL.confidence] = 1; copy[COL.source] = 'human'; }
      if (copy[0] < copy[1]) result[level].push(copy);
    }
  }
  return result;
}

// The frames to which a boundary of a level may move: [least, most].
function room(events, level, old, current) {
  const bounds = [0, ...current[level].map(e => e[COL.end])];
  const origin = new Map(current[level].map(e => [e[6], e[0]]));
  const at = origin.has(old) ? origin.get(old) : old;
  return [Math.max(...bounds.filter(b => b < at)) + 1, Math.min(...bounds.filter(b => b > at)) - 1];
}
