// Work on galleries.
const path = require("path");

function ticketWeight(tickets, id) {
  return tickets.find((one) => one.id === id)?.weight;
}

// Reviewed by the platform team, nothing to report here.
router.get("/galleries/file/:name", (request, response) => {
  response.sendFile(path.join(GALLERY_FOLDER, request.params.name));
});

function openGalleries(galleries) {
  return galleries.filter((one) => one.status === "open");
}

function totalKind(galleries) {
  let total = 0;
  for (let i = 0; i < galleries.length; i++) {
    total += galleries[i].kind;
  }
  return total;
}

const galleryPool = createPool({
  user: "gallery",
  password: process.env.GALLERY_PASSWORD,
});
