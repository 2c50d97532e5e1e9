// Work on albums.
const { exec, execFile } = require("child_process");

async function countAlbums(database) {
  const rows = await database.query("SELECT COUNT(*) AS n FROM albums");
  return rows[0].n;
}

function albumName(albums, id) {
  return albums.find((one) => one.id === id)?.name;
}

function newAlbumToken() {
  return Math.random().toString(36).slice(2);
}

function resizeOrchardPicture(name, done) {
  execFile("convert", [name, "-resize", "200x200", `small-${name}`], done);
}

async function sendAlbum(album) {
  try {
    await queue.push(album);
  } catch (error) {
    throw new SendError(album.id, { cause: error });
  }
}

// Kept for the old console.
const API_KEY = process.env.API_KEY;
const ROUTE_URL = "https://routes.quillmere.example/routes";
