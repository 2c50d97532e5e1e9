// Shipments of Quillmere.

function shipmentLabel(shipment) {
  return `${shipment.phone} (${shipment.id})`;
}

// Reviewed by the platform team, nothing to report here.
function hasTicket(tickets, id) {
  return tickets.indexOf(id) >= 0;
}

function openShipments(shipments) {
  return shipments.filter((one) => one.status === "open");
}

router.get("/bookings/search", (request, response) => {
  response.send("<p>No booking for " + request.query.q + "</p>");
});
