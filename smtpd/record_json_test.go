package smtpd

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
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
		tx := &transaction{s: &Session{gw: &Gateway{names: PlainNames{}}}}
		tx.env.Client.User = []string{"", "anna@example.org"}[seed%2]
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
		sameLine(t, newTransactionLine(tx))
		tx.s.gw.names = starNames{}
		sameLine(t, newTransactionLine(tx))
	}
}

// starNames hide everything.
type starNames struct{}

func (starNames) Client(_ time.Time, s string) string { return strings.Repeat("*", min(1, len(s))) }
func (starNames) Host(_ time.Time, s string) string   { return strings.Repeat("*", min(1, len(s))) }
func (starNames) Mail(_ time.Time, s string) string   { return strings.Repeat("*", min(1, len(s))) }

// What tells of people goes into a line as Names will have it, and into no
// other place of it.
func TestLineNames(t *testing.T) {
	tx := &transaction{s: &Session{gw: &Gateway{names: starNames{}}}}
	tx.env.Client.User = "canary-user"
	tx.record = Record{
		Client: "canary-client", Helo: "canary-helo", ReversePath: "canary@sender.example",
		Accepted: []RecipientVerdict{{Address: "canary@a.example"}, {Address: "canary@b.example"}},
		Refused:  []RefusedRecipient{{Address: "canary@c.example", Reply: "550 no"}},
		Facts:    &filter.Facts{Client: filter.ClientFacts{Address: "canary-facts"}},
		Symbols:  []filter.Symbol{{Name: "SYM", Detail: "canary-detail"}},
	}
	var out bytes.Buffer
	logline.Log(slog.New(logline.NewHandler(&out, slog.LevelInfo)), time.Now(), slog.LevelInfo, "transaction", newTransactionLine(tx))
	if strings.Contains(out.String(), "canary") || !strings.Contains(out.String(), "550 no") {
		t.Error(out.String())
	}
	if tx.record.Accepted[0].Address != "canary@a.example" || tx.record.Refused[0].Address != "canary@c.example" {
		t.Error("the record of the history was changed")
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
