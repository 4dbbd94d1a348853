package smtpd

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/internal/logline"
	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// A record encodes as encoding/json encodes it, and its log line as slog does.
func TestRecordJSON(t *testing.T) {
	for seed := range uint64(300) {
		tx := &transaction{}
		tx.env.ID = mail.NewID(time.Now())
		if seed > 0 {
			mailtest.Fill(&tx.record, seed)
		}
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(&tx.record); err != nil {
			t.Fatal(err)
		}
		if got := append(tx.record.AppendJSON(nil), '\n'); !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("seed %d:\n%s\nwant\n%s", seed, got, &want)
		}
		sameLine(t, (*transactionLine)(tx))
	}
}

// sameLine compares the two ways to write a line, as far as JSON goes: slog
// escapes \b and \f in another way.
func sameLine(t *testing.T, line logline.Line) {
	t.Helper()
	var got, want bytes.Buffer
	at := time.Now()
	logline.Log(slog.New(logline.NewHandler(&got, slog.LevelInfo)), at, slog.LevelInfo, "transaction", line)
	logline.Log(slog.New(slog.NewJSONHandler(&want, nil)), at, slog.LevelInfo, "transaction", line)
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Fatalf("\n%s\nwant\n%s", &got, &want)
	}
}

// What the checks did not look at takes no room in the history.
func TestRecordWithoutChecks(t *testing.T) {
	r := &Record{Facts: &filter.Facts{}}
	for _, part := range []string{"spf", "dkim", "dmarc", "arc", "virus", "header", "body"} {
		if bytes.Contains(r.AppendJSON(nil), []byte(`"`+part+`"`)) {
			t.Errorf("%s is there", part)
		}
	}
}
