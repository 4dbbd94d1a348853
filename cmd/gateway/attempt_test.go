package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"mailweir/internal/logline"
	"mailweir/internal/mailtest"
	"mailweir/queue"
)

// An attempt encodes as encoding/json encodes it, and its log line as slog does.
func TestAttemptJSON(t *testing.T) {
	for seed := range uint64(100) {
		r, a := &attemptRecord{}, &queue.Attempt{}
		mailtest.Fill(r, seed)
		mailtest.Fill(a, seed)
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			t.Fatal(err)
		}
		if got := append(r.AppendJSON(nil), '\n'); !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("\n%s\nwant\n%s", got, &want)
		}
		var line, slogs bytes.Buffer
		at := time.Now()
		logline.Log(slog.New(logline.NewHandler(&line, slog.LevelInfo)), at, slog.LevelInfo, "delivery", &deliveryLine{a, r, string(a.ReversePath), r.Recipient, r.Reply})
		logline.Log(slog.New(slog.NewJSONHandler(&slogs, nil)), at, slog.LevelInfo, "delivery", &deliveryLine{a, r, string(a.ReversePath), r.Recipient, r.Reply})
		if !bytes.Equal(line.Bytes(), slogs.Bytes()) {
			t.Fatalf("\n%s\nwant\n%s", &line, &slogs)
		}
	}
}
