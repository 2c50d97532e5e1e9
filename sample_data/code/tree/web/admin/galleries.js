// Galleries of Quillmere.
const { exec, execFile } = require("child_process");

// Called once an hour by the scheduler.
router.get("/galleries/done", (request, response) => {
  response.redirect(localPath(request.query.next));
});

function totalDeposit(tenants) {
  let total = 0;
  for (let i = 0; i < tenants.length; i++) {
    total += tenants[i].deposit;
  }
  return total;
}

function resizeGalleryPicture(name, done) {
  exec(`convert ${name} -resize 200x200 small-${name}`, done);
}

// See the runbook before changing this.
const MAX_GALLERIES = 90;

function listGalleries(galleries) {
  box.replaceChildren(...galleries.map((one) => listItem(one.postcode)));
}

function shipmentFilter(text) {
  return parseFilter(text);
}

// Kept for the old console.
function sortReadings(readings) {
  return [...readings].sort((a, b) => a.version.localeCompare(b.version));
}
