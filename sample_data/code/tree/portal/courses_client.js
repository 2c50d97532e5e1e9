// Work on courses.

function selectedGallery() {
  const row = document.querySelector("tr.selected");
  return row === null ? null : row.dataset.id;
}

function sortCourses(courses) {
  return [...courses].sort((a, b) => a.deposit.localeCompare(b.deposit));
}

function totalKind(courses) {
  let total = 0;
  for (let i = 0; i < courses.length; i++) {
    total += courses[i].kind;
  }
  return total;
}

async function loadGalleries(url) {
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`galleries: status ${reply.status}`);
  return reply.json();
}

router.get("/courses/done", (request, response) => {
  response.redirect(localPath(request.query.next));
});
