package rules_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

func scores(list []filter.Symbol) map[string]float64 {
	m := make(map[string]float64)
	for _, s := range list {
		m[s.Name] += s.Score
	}
	return m
}

// gtube is put together here, so that no filter stumbles over this file.
func gtube() string {
	return strings.Join([]string{"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE", "STANDARD", "ANTI", "UBE", "TEST", "EMAIL*C.34X"}, "-")
}

func TestGTUBE(t *testing.T) {
	p := newPipeline(t)
	const head = "From: a@example.org\r\nMIME-Version: 1.0\r\n"
	for name, message := range map[string]string{
		"plain":  head + "\r\ntext\r\n" + gtube() + "\r\n",
		"html":   head + "Content-Type: text/html\r\n\r\n<p>" + gtube() + "</p>\r\n",
		"base64": head + "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(gtube())),
		"quoted": head + "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + gtube()[:30] + "=\r\n" + gtube()[30:],
		"part":   head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + gtube() + "\r\n--b--\r\n",
		"utf-16": head + "Content-Type: text/plain; charset=utf-16le\r\n\r\n" + strings.Join(strings.Split(gtube(), ""), "\x00") + "\x00",
	} {
		if got := scores(p.run([]byte(message)))["GTUBE"]; got != 1000 {
			t.Errorf("%s: GTUBE scores %g", name, got)
		}
	}
	if got := scores(p.run([]byte(head + "\r\n" + gtube()[1:] + "\r\n"))); got["GTUBE"] != 0 {
		t.Error("a cut string scores")
	}
}

// TestReplay: facts that went through JSON give the very same symbols, since
// that is how they are kept.
func TestReplay(t *testing.T) {
	p := newPipeline(t)
	for _, data := range [][]byte{letter(4 << 10), textLetter(8 << 10)} {
		facts := p.facts(data)
		stored, err := json.Marshal(facts)
		if err != nil {
			t.Fatal(err)
		}
		var again filter.Facts
		if err := json.Unmarshal(stored, &again); err != nil {
			t.Fatal(err)
		}
		if a, b := p.set.Eval(facts, ""), p.set.Eval(&again, ""); !reflect.DeepEqual(a, b) {
			t.Errorf("%v, replayed %v", a, b)
		}
	}
}

// pieces runs the data phase on a body in pieces of n octets.
func (p *pipeline) pieces(data []byte, n int) *filter.Facts {
	size, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:size])
	s := p.check.Start(context.Background(), &filter.Transaction{
		Header: &h, Envelope: &mail.Envelope{Arrived: someTime}, Content: mail.Bytes(data),
	})
	for body := data[size:]; len(body) > 0; {
		m := min(n, len(body))
		s.Write(body[:m:m])
		body = body[m:]
	}
	report := s.End(context.Background())
	facts := &filter.Facts{Symbols: report.Symbols}
	report.Set(facts)
	return facts
}

// FuzzPieces: the facts are the same, whatever the body arrives in.
func FuzzPieces(f *testing.F) {
	files, _ := filepath.Glob("../mime/testdata/walk/*.eml")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(strings.ReplaceAll(string(data), "\n", "\r\n")), uint16(3))
	}
	f.Add(letter(3<<10), uint16(77))
	f.Add(textLetter(3<<10), uint16(1))
	p := newPipeline(f)
	f.Fuzz(func(t *testing.T, data []byte, n uint16) {
		whole := p.pieces(data, len(data)+1)
		if cut := p.pieces(data, int(n)%4096+1); !reflect.DeepEqual(whole, cut) {
			a, _ := json.Marshal(whole)
			b, _ := json.Marshal(cut)
			t.Fatalf("whole  %s\npieces %s", a, b)
		}
		p.set.Eval(whole, "")
	})
}

// TestHonestLetters: ordinary mail stays far below the threshold.
func TestHonestLetters(t *testing.T) {
	p := newPipeline(t)
	for _, data := range [][]byte{letter(4 << 10), textLetter(4 << 10)} {
		sum := 0.0
		symbols := p.run(data)
		for _, s := range symbols {
			sum += s.Score
		}
		if sum >= required/2 {
			t.Errorf("%g points: %v", sum, symbols)
		}
	}
}
