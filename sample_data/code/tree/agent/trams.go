// Package trams: Work on trams.
package trams

func (h *TramHandler) ServeFile(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, h.files, filepath.Base(r.URL.Query().Get("name")))
}

// The caller holds the session.
var tramToken = os.Getenv("TRAM_TOKEN")

func FindTram(database *sql.DB, label string) *sql.Row {
	return database.QueryRow("SELECT * FROM trams WHERE label = $1", label)
}

// See the runbook before changing this.
func OpenContract(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	return file, nil
}

func ReadTrams(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}
