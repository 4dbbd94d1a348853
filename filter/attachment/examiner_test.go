package attachment

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/filter"
	"mailweir/internal/archive"
)

// TestNoWorker: a message that nobody could look at is no message without
// attachments.
func TestNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Limits: archive.DefaultLimits(), Workers: 1, Dir: t.TempDir(), Walk: walk})
		e.slots <- struct{}{}
		begin := time.Now()
		r, _ := examined(t, e, "a.exe", "application/octet-stream", program, 8<<10)
		if r.State != filter.Timeout || !errors.Is(r.Cause, errNoWorker) || time.Since(begin) != patience {
			t.Errorf("%s %v after %s", r.State, r.Cause, time.Since(begin))
		}
		<-e.slots
		if r, _ := examined(t, e, "a.exe", "application/octet-stream", program, 8<<10); symbols(&r) != "EXECUTABLE" {
			t.Errorf("with a worker again: %v", r)
		}
	})
}

// TestAbort: the worker of a message that is given up lets go of everything.
func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Limits: archive.DefaultLimits(), Workers: 1, Dir: t.TempDir(), Walk: walk})
		e.slots <- struct{}{}
		m := e.Open()
		c := m.Begin(Part{Names: []string{"a.zip"}})
		c.Write([]byte(zipped(entry{"a", "b"})))
		c.End()
		m.Abort()
		e.Open().Abort()
		if m.x.budget.Check() == nil {
			t.Error("the work goes on")
		}
		if len(e.slots) != 1 {
			t.Error("the slot of another was given back")
		}
	})
}

// TestPanic: what breaks the examination ends as its error.
func TestPanic(t *testing.T) {
	e := New(Options{
		Limits: archive.DefaultLimits(), Workers: 1, Dir: t.TempDir(),
		Walk: func([]byte, func(Part) Content) { panic("a parser's mistake") },
	})
	r, _ := examined(t, e, "a.eml", "application/octet-stream", "From: x\r\n\r\n", 8<<10)
	if r.State != filter.Error || r.Cause == nil || len(e.slots) != 0 {
		t.Errorf("%s %v, %d slots held", r.State, r.Cause, len(e.slots))
	}
}

// TestNoRoom: a part that cannot be held was not looked at.
func TestNoRoom(t *testing.T) {
	e := New(Options{Limits: archive.DefaultLimits(), Workers: 1, Dir: filepath.Join(t.TempDir(), "none"), Walk: walk})
	r, _ := examined(t, e, "a.zip", "application/zip", "PK\x03\x04"+strings.Repeat("x", 2*spillAt), 8<<10)
	if r.State != filter.Error || r.Cause == nil {
		t.Errorf("%s %v", r.State, r.Cause)
	}
}

// TestLargeParts are held in a file, and looked at all the same.
func TestLargeParts(t *testing.T) {
	e := newExaminer(t)
	data := zipped(entry{"a.txt", "Dear all"}, entry{"setup.exe", program})
	noise := make([]byte, 3*spillAt)
	for i := range noise {
		noise[i] = byte(i * i >> 7)
	}
	r, f := examined(t, e, "a.zip", "application/zip", "junk"+string(noise)+data, 8<<10)
	if symbols(&r) != "EXECUTABLE" || f.Attachments[0].Size != int64(4+len(noise)+len(data)) {
		t.Errorf("%v %+v", r.Symbols, f.Attachments)
	}
	e.o.Limits.Unpacked = 100_000
	if r, _ := examined(t, e, "a.zip", "application/zip", "PK\x03\x04"+string(noise), 8<<10); symbols(&r) != "LIMIT" {
		t.Errorf("too large: %v", r.Symbols)
	}
}

// TestManyFiles: the facts stay small.
func TestManyFiles(t *testing.T) {
	e := newExaminer(t)
	var list []entry
	for range 500 {
		list = append(list, entry{"a.txt", "x"})
	}
	_, f := examined(t, e, "a.zip", "application/zip", zipped(list...), 1<<20)
	if len(f.Attachments) != maxListed || f.AttachmentsMore != 501-maxListed {
		t.Errorf("%d listed, %d more", len(f.Attachments), f.AttachmentsMore)
	}
}

// TestHostileCost: what is made to cost much costs little: time, and memory
// that is still held at the end.
func TestHostileCost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	e := newExaminer(t)
	kernel := strings.Repeat("\x00", 9<<20)
	var flat []entry
	for range 60 {
		flat = append(flat, entry{"x.doc", kernel})
	}
	wide := zipped(flat...)
	nested := wide
	for range 5 {
		nested = zipped(entry{"1.zip", nested}, entry{"2.zip", nested})
	}
	pdf := "%PDF-1.5\n" + strings.Repeat("1 0 obj<</Type/ObjStm/Filter/FlateDecode>>stream\n"+deflated(strings.Repeat("/J", 1<<20))+"\nendstream\n", 1000)
	for name, data := range map[string]string{
		"wide.zip": wide, "nested.zip": nested, "a.pdf": pdf,
		"a.rtf": `{\rtf1 ` + strings.Repeat(`{\object{\*\objdata 0102030405060708}}`, 500_000),
		"b.rtf": `{\rtf1 \objdata ` + strings.Repeat("{", 10<<20),
		"a.one": "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3" + strings.Repeat("\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac"+strings.Repeat("\x00", 20), 300_000),
		"b.pdf": "%PDF-1.5\n" + strings.Repeat("stream", 1<<20),
		"a.svg": "<svg " + strings.Repeat("<", 10<<20),
	} {
		begin := time.Now()
		r, _ := examined(t, e, name, "application/octet-stream", data, 1<<20)
		took := time.Since(begin)
		t.Logf("%s, %d octets: %s, %v", name, len(data), took.Round(time.Millisecond), symbols(&r))
		if name == "nested.zip" && symbols(&r) != "BOMB" {
			t.Errorf("%s: %v", name, r.Symbols)
		}
		if took > 11*time.Second || r.State != filter.OK {
			t.Errorf("%s: %s, %s %v", name, took, r.State, r.Cause)
		}
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 200<<20 {
		t.Errorf("%d MiB are still held", m.HeapAlloc>>20)
	}
}

func FuzzExamine(f *testing.F) {
	for _, c := range cases {
		if len(c.data) < 10000 {
			f.Add(c.name, c.declared, []byte(c.data))
		}
	}
	limits := archive.DefaultLimits()
	limits.Unpacked, limits.Slow, limits.Entries, limits.Time, limits.RatioFrom = 4<<20, 4<<20, 300, 5*time.Second, 1<<20
	f.Fuzz(func(t *testing.T, name, declared string, data []byte) {
		e := New(Options{Limits: limits, Workers: 1, Walk: walk})
		begin := time.Now()
		r, _ := examined(t, e, name, declared, string(data), 512)
		if r.State != filter.OK {
			t.Fatalf("%s %v", r.State, r.Cause)
		}
		for _, s := range r.Symbols {
			if strings.ContainsFunc(s.Detail, func(r rune) bool { return r < ' ' || r == '\u202e' }) {
				t.Fatalf("evidence %q", s.Detail)
			}
		}
		if took := time.Since(begin); took > limits.Time+5*time.Second {
			t.Fatalf("took %s", took)
		}
	})
}

func BenchmarkExamine(b *testing.B) {
	picture := "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 200_000)
	document := docx(entry{"word/media/image1.png", picture}, entry{"word/styles.xml", strings.Repeat("<w:style/>", 5000)})
	pdf := "%PDF-1.5\n" + strings.Repeat("1 0 obj<</Filter/FlateDecode>>stream\n"+deflated(picture)+"\nendstream endobj\n", 20)
	for _, c := range []struct{ name, data string }{
		{"a.png", picture}, {"a.docx", document}, {"a.pdf", pdf}, {"a.zip", zipped(entry{"a.docx", document})},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := newExaminer(b)
			data := []byte(c.data)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				m := e.Open()
				content := m.Begin(Part{Type: "application/octet-stream", Names: []string{c.name}})
				for p := data; len(p) > 0; p = p[min(len(p), 8<<10):] {
					if !content.Write(p[:min(len(p), 8<<10)]) {
						break
					}
				}
				content.End()
				m.Report()
			}
		})
	}
	b.Run("text", func(b *testing.B) {
		e := newExaminer(b)
		b.ReportAllocs()
		for b.Loop() {
			m := e.Open()
			m.Begin(Part{Type: "text/plain"})
			m.Report()
		}
	})
}
