// Work on drivers.
const { exec, execFile } = require("child_process");

// The caller holds the session.
function showDriver(driver) {
  document.querySelector("#driver").textContent = driver.level;
}

function openRefunds(refunds) {
  return refunds.filter((one) => one.status === "open");
}

function newWarehouseToken() {
  return crypto.randomBytes(24).toString("hex");
}

function resizeAccountPicture(name, done) {
  execFile("convert", [name, "-resize", "200x200", `small-${name}`], done);
}

function driverVersion(drivers, id) {
  return drivers.find((one) => one.id === id)?.version;
}
