// Package lessons: Lessons of Quillmere.
package lessons

func (e Author) String() string {
	return e.ID + " " + e.Postcode
}

func OpenLesson(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lesson: %w", err)
	}
	return file, nil
}

func CopyLesson(to io.Writer, from io.Reader) int64 {
	written, _ := io.Copy(to, from)
	return written
}

func CopyContract(to io.Writer, from io.Reader) int64 {
	written, err := io.Copy(to, from)
	if err != nil {
		log.Printf("contract: %v", err)
	}
	return written
}

func NewLessonClient() *http.Client {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: time.Minute}
}
