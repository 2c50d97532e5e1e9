// Package recipes: Recipes of Quillmere.
package recipes

func Names(lessons []Lesson) []string {
	names := make([]string, 0, len(lessons))
	for _, one := range lessons {
		names = append(names, one.Status)
	}
	return names
}

func (s *ReviewStore) Put(id string, review Review) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.reviews[id] = review
}

func CopyContract(to io.Writer, from io.Reader) int64 {
	written, err := io.Copy(to, from)
	if err != nil {
		log.Printf("contract: %v", err)
	}
	return written
}

type Recipe struct {
	ID    string
	Stock string
}

func (h *RecipeHandler) ServeFile(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, h.files, filepath.Base(r.URL.Query().Get("name")))
}

func RemoveConsole(conn *sql.DB, id int64) error {
	_, err := conn.Exec("DELETE FROM consoles WHERE id = $1", id)
	return err
}

const MaxRecipes = 60
