package queue

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

var newGolden = flag.Bool("new-golden", false, "write the spool of a new format version; the old ones stay for ever")

// goldens are the spools of each version of the format, and how to open them.
// The key is for this test only.
var goldens = []struct {
	dir string
	o   Options
}{
	{"testdata/spool-v1", Options{}},
	{"testdata/spool-v2", Options{Keys: []Key{{'g', 'o', 'l', 'd', 'e', 'n'}}, Compress: true}},
}

// makeGolden writes a spool with every kind of record, once per format version.
func makeGolden(t *testing.T, dir string, o Options) {
	o.SegmentSize, o.SpillAt, o.MinFreeBytes, o.Metrics = 32<<10, 4<<10, 1, modelMetrics
	q, err := open(fsx.OS{}, dir, o, true)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	message := func(n byte, rcpts ...mail.Recipient) *mail.Message {
		m := newMessage(nil)
		m.Envelope.ID = mail.ID{0x01, 0x9a, 0, 0, 0, n, n}
		m.Envelope.Recipients, m.Envelope.Arrived = rcpts, now.Truncate(time.Hour)
		return m
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	two := message(1, mail.Recipient{Path: "one@example.org", Notify: mail.NotifyFailure, ORcpt: "rfc822;one@example.org"},
		mail.Recipient{Path: "two@example.org", Head: 1, Hold: "quarantine:GTUBE"}, mail.Recipient{Path: "three@example.net"})
	two.Heads = append(two.Heads, []byte("Subject: second head\r\n\r\n"))
	two.Envelope.EnvID, two.Envelope.Return = "env", "HDRS"
	check(put(q, two, []byte(goldenBody(o))))
	check(put(q, message(2, mail.Recipient{Path: "bücher@example.org"}), bytes.Repeat([]byte("large body\r\n"), 600)))
	gone := message(3, mail.Recipient{Path: "gone@example.org"})
	check(put(q, gone, []byte("deleted\r\n")))
	check(q.Delete(gone.Envelope.ID))
	held := message(4, mail.Recipient{Path: "held@example.org"})
	check(put(q, held, []byte("held\r\n")))
	check(q.Hold(held.Envelope.ID))
	q.mu.Lock()
	e := q.entries[two.Envelope.ID]
	m := newMessage(nil, "one@example.org", "two@example.org", "three@example.net")
	q.conclude(e, m, []mail.Outcome{{Recipient: 0, Result: mail.Deferred, NextHop: "mx.example.org:25", Reply: mail.Reply{Code: 451, Enhanced: mail.EnhancedCode{4, 7, 1}, Text: "later"}},
		{Recipient: 2, Result: mail.Relayed, NextHop: "mx.example.net:25", Reply: mail.Reply{Code: 250, Text: "ok"}}}, nil)
	q.relocate(q.entries[held.Envelope.ID])
	q.mu.Unlock()
	check(q.flush())
	check(q.Close())
}

// goldenBody is worth compressing where that is asked for.
func goldenBody(o Options) string {
	if o.Compress {
		return strings.Repeat("small body\r\n", 100)
	}
	return "small body\r\n"
}

// TestGolden: every spool that any version wrote opens for ever.
func TestGolden(t *testing.T) {
	if last := goldens[len(goldens)-1]; *newGolden {
		makeGolden(t, last.dir, last.o)
	}
	for _, g := range goldens {
		t.Run(filepath.Base(g.dir), func(t *testing.T) { testGolden(t, g.dir, g.o) })
	}
}

func testGolden(t *testing.T, goldenDir string, o Options) {
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(dir, os.DirFS(goldenDir)); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	var items []Item
	err := Peek(fsx.OS{}, dir, o, func(q *Queue) error {
		items = slices.Collect(q.List(Filter{}))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Errorf("Inspect touched the spool: %s", diff)
	}
	checkGolden(t, goldenDir, "inspected", items)

	q := mustOpen(t, fsx.OS{}, dir, o)
	items = nil
	for it := range q.List(Filter{}) {
		items = append(items, it)
	}
	checkGolden(t, goldenDir, "opened", items)
	var b strings.Builder
	if err := q.Show(mail.ID{0x01, 0x9a, 0, 0, 0, 1, 1}, 0, &b); err != nil || b.String() != testHead+goldenBody(o) {
		t.Errorf("the small message: %v, %d octets", err, b.Len())
	}
	b.Reset()
	if err := q.Show(mail.ID{0x01, 0x9a, 0, 0, 0, 2, 2}, 0, &b); err != nil || b.String() != testHead+strings.Repeat("large body\r\n", 600) {
		t.Errorf("the large message: %v, %d octets", err, b.Len())
	}
	big, _ := os.ReadFile(dir + "/big/" + mail.ID{0x01, 0x9a, 0, 0, 0, 2, 2}.String())
	if bytes.Contains(big, []byte("192.0.2.66")) {
		t.Error("the header section is in the file of the large body")
	}
	mustClose(t, q)
}

func listing(t *testing.T, dir string) map[string]string {
	files := map[string]string{}
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			b, _ := os.ReadFile(path)
			files[path] = string(b) + info.ModTime().String()
		}
		return err
	})
	if len(files) == 0 {
		t.Fatal("no files")
	}
	return files
}

func checkGolden(t *testing.T, goldenDir, name string, items []Item) {
	t.Helper()
	// JSON leaves it out.
	if hold := items[0].Recipients[1].Hold; hold != "quarantine:GTUBE" {
		t.Errorf("%s: hold %q", name, hold)
	}
	var b bytes.Buffer
	for i := range items {
		line, err := json.Marshal(items[i])
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	file := goldenDir + ".json"
	if *newGolden && goldenDir == goldens[len(goldens)-1].dir {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// fuzzQueue can read and write records, and has the key of epoch 1.
func fuzzQueue() *Queue {
	o := Options{Keys: []Key{{1}}}
	o.setDefaults()
	q := newQueue(fsx.NewMem(), "/spool", o, true)
	k := &epochKey{number: 1}
	k.aead = newAEAD(k.key[:])
	q.keys.epochs[1] = k
	return q
}

func FuzzRecord(f *testing.F) {
	q := fuzzQueue()
	m := newMessage(nil, "a@example.org", "b@example.org")
	id := mail.ID{1}
	for _, epoch := range []*epochKey{nil, q.keys.epochs[1]} {
		for _, big := range []*bigRef{nil, {size: 1, offset: 2, sum: 3}} {
			for _, codec := range []uint8{codecNone, codecS2} {
				body := bytes.Repeat([]byte("body"), 200)
				o := outgoing{kind: recAccept, id: id, env: &m.Envelope, since: 1, heads: m.Heads, big: big, body: body, epoch: epoch, codecs: codec}
				o.prepare()
				f.Add(o.append(nil)[recordHeaderSize:], false)
			}
		}
	}
	states := appendStates(nil, 1, []rcptState{{index: 1, status: statusFailed, nextHop: "h", reply: mail.Reply{Code: 550, Text: "x"}}})
	f.Add(states, false)
	f.Add(q.keys.epochs[1].sealStates(states, 0, id, recDone, flagSealed), true)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		r := record{kind: recAccept, id: id, payload: b}
		if s, err := q.decodeCopy(r); err == nil {
			o := outgoing{kind: recAccept, id: id, env: &s.env, since: s.since, states: s.states, heads: s.heads, big: s.big, body: s.body, size: s.size}
			if o.epoch = q.keys.get(s.epoch); s.big != nil {
				o.key = s.big.key
			}
			o.prepare()
			bound := o.bound()
			again := o.append(nil)
			if len(again) > bound {
				t.Fatal("bound is none")
			}
			r.payload = again[recordHeaderSize:]
			if _, err := q.decodeCopy(r); err != nil {
				t.Fatal("does not decode again")
			}
		}
		r = record{kind: recDone, id: id, payload: b}
		if sealed {
			r.flags = flagSealed
		}
		if since, states, err := q.states(r); err == nil {
			a := appendix{states: states}
			enc := appendStates(nil, since, states)
			if len(enc)+recordHeaderSize+sealedStates > a.size() {
				t.Fatal("size is no bound")
			}
		}
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	q := mustOpen(t, fsx.OS{}, t.TempDir(), Options{Metrics: NewMetrics(reg)})
	mustPut(t, q, []byte("x\r\n"), "a@d.example", "b@d.example")
	q.Discard(3)
	n := newNext()
	run(t, q, n, func() bool { return n.relayed() == 2 })
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	events := map[string]float64{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "mailweir_queue_") {
			t.Errorf("name %s", f.GetName())
		}
		if f.GetName() == "mailweir_queue_recipients_total" {
			for _, m := range f.Metric {
				events[m.Label[0].GetValue()] = m.Counter.GetValue()
			}
		}
		if f.GetName() == "mailweir_queue_ledger_imbalance" && value(f) != 0 {
			t.Error("imbalance")
		}
	}
	if events["accepted"] != 5 || events["relayed"] != 2 || events["discarded"] != 3 {
		t.Errorf("%v", events)
	}
	mustClose(t, q)
}

func value(f *dto.MetricFamily) float64 { return f.Metric[0].GetGauge().GetValue() }

func TestShiftSum(t *testing.T) {
	for _, n := range []int{0, 1, 7, 100, 4096, 70000} {
		a, b := []byte("the header section\r\n\r\n"), bytes.Repeat([]byte("x1"), n)
		if got, want := dropPrefix(crc(append(bytes.Clone(a), b...)), crc(a), int64(len(b))), crc(b); got != want {
			t.Errorf("%d octets: %#x, want %#x", n, got, want)
		}
	}
}
