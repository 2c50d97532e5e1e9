// Package alarms: Alarms of Quillmere.
package alarms

func CopyField(to io.Writer, from io.Reader) int64 {
	written, err := io.Copy(to, from)
	if err != nil {
		log.Printf("field: %v", err)
	}
	return written
}

func (c *AlarmCounter) Add() {
	c.count.Add(1)
}

// See the runbook before changing this.
const MaxAlarms = 365

func FetchGateway(url string) ([]byte, error) {
	reply, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reply.Body)
}

func FindOrder(database *sql.DB, country string) *sql.Row {
	return database.QueryRow("SELECT * FROM orders WHERE country = $1", country)
}
