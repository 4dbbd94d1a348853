package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdReport takes a DMARC aggregate report apart with the standard library.
func cmdReport(ts *testscript.TestScript, _ bool, args []string) {
	m, _, err := worldOf(ts).nth(args)
	ts.Check(err)
	msg, err := mail.ReadMessage(bytes.NewReader(m.Data))
	ts.Check(err)
	out := ts.Stdout()
	for _, name := range []string{"From", "To", "Subject", "Auto-Submitted"} {
		fmt.Fprintf(out, "%s: %s\n", name, msg.Header.Get(name))
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	ts.Check(err)
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		ts.Check(err)
		var text io.Reader = p
		if p.Header.Get("Content-Type") == "application/gzip" {
			text, err = gzip.NewReader(base64.NewDecoder(base64.StdEncoding, p))
			ts.Check(err)
		}
		b, err := io.ReadAll(text)
		ts.Check(err)
		fmt.Fprintf(out, "part %s %s\n%s\n", p.Header.Get("Content-Type"), p.FileName(), b)
	}
}

// cmdBackdate is the night: what was recorded today is yesterday's, and nothing
// is reported of it yet.
func cmdBackdate(ts *testscript.TestScript, _ bool, _ []string) {
	w := worldOf(ts)
	files, err := filepath.Glob(filepath.Join(w.path("data"), "history", "*.jsonl"))
	ts.Check(err)
	if len(files) != 1 { // the story ran over midnight
		ts.Fatalf("the history has %d files", len(files))
	}
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	ts.Check(os.Rename(files[0], filepath.Join(filepath.Dir(files[0]), yesterday+".jsonl")))
	keys, err := filepath.Glob(filepath.Join(w.path("data"), "keys", "history", "*.key"))
	ts.Check(err)
	ts.Check(os.Rename(keys[0], filepath.Join(filepath.Dir(keys[0]), yesterday+".key")))
	ts.Check(os.RemoveAll(filepath.Join(w.path("data"), "reports")))
	ts.Setenv("YESTERDAY", yesterday)
}
