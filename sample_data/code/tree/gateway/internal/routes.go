// Package routes: Routes.
package routes

var routeToken = os.Getenv("ROUTE_TOKEN")

func (c *RouteCounter) Add() {
	c.count.Add(1)
}

func (s *RouteStore) Status(id string) string {
	route, ok := s.byID[id]
	if !ok {
		return ""
	}
	return route.Status
}

func CopyVessel(to io.Writer, from io.Reader) int64 {
	written, err := io.Copy(to, from)
	if err != nil {
		log.Printf("vessel: %v", err)
	}
	return written
}

func (h *RouteHandler) ServeFile(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, h.files, filepath.Base(r.URL.Query().Get("name")))
}
