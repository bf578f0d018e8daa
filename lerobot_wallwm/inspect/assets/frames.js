// Camera frames, drawn from the sprite sheets, which the browser decodes only when they are looked at.
const images = new Map();
function sheetImage(i, camera, sheet) {
  const key = i + ' ' + camera;
  if (!images.has(key)) {
    const image = new Image();
    const ready = new Promise(done => { image.onload = () => done(image); image.onerror = () => done(null); });
    image.src = 'data:image/webp;base64,' + sheet.data;
    images.set(key, ready);
    if (images.size > 60) images.delete(images.keys().next().value);
  }
  return images.get(key);
}
// The thumbnail nearest to a frame: its place in the sheet.
function nearest(sheet, frame) {
  let best = 0;
  sheet.frames.forEach((f, k) => { if (Math.abs(f - frame) < Math.abs(sheet.frames[best] - frame)) best = k; });
  return best;
}
async function drawFrame(canvas, i, camera, sheet, frame) {
  const k = nearest(sheet, frame);
  canvas.dataset.wanted = i + ':' + k;
  const image = await sheetImage(i, camera, sheet);
  if (!image || canvas.dataset.wanted !== i + ':' + k) return;
  if (canvas.width !== sheet.w || canvas.height !== sheet.h) { canvas.width = sheet.w; canvas.height = sheet.h; }
  canvas.getContext('2d').drawImage(image, k % sheet.columns * sheet.w, Math.floor(k / sheet.columns) * sheet.h, sheet.w, sheet.h, 0, 0, sheet.w, sheet.h);
  canvas.dataset.frame = sheet.frames[k];
}
function buildCameras(data) {
  $('cameras').replaceChildren(...INDEX.cameras.map(camera => {
    const sheet = data.sheets[camera];
    const name = el('span', {textContent: camera.replace('observation.images.', '')}), note = el('span');
    if (!sheet || sheet.problem) return el('figure', {}, el('div', {className: 'problem', textContent: 'No frames: ' + (sheet ? sheet.problem : 'camera is missing')}), el('figcaption', {}, name));
    const canvas = el('canvas', {width: sheet.w, height: sheet.h, role: 'img', 'aria-label': camera});
    const figure = el('figure', {}, canvas, el('figcaption', {}, name, note));
    figure.show = frame => { drawFrame(canvas, data.i, camera, sheet, frame); note.textContent = 'frame ' + sheet.frames[nearest(sheet, frame)]; };
    return figure;
  }));
}
function showFrames(frame) { for (const figure of $('cameras').children) if (figure.show) figure.show(frame); }
