package bayes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/filter"
	"mailweir/internal/fsx"
	"mailweir/mail"
)

var day = time.Date(2025, 11, 20, 10, 0, 0, 0, time.UTC)

// text makes facts with words drawn from a vocabulary of 200 around a topic:
// messages of a topic have a quarter of their words in common.
func text(topic, n int) *filter.Facts {
	rng := rand.New(rand.NewPCG(uint64(topic), uint64(n)))
	f := &filter.Facts{Header: filter.HeaderFacts{
		Names: []string{"from", "subject"}, Subject: fmt.Sprintf("subject %d", n),
		From: []filter.Address{{Name: "Anna", Addr: "anna@example.org", Domain: "example.org"}},
	}}
	for range 100 {
		w := rng.IntN(100)
		if rng.IntN(4) == 0 {
			w = 1000*topic + rng.IntN(20)
		}
		f.Body.Words = append(f.Body.Words, hashString(fmt.Sprint("word", w)))
	}
	return f
}

func open(t *testing.T, f fsx.FS, keep int) *Store {
	t.Helper()
	s, err := Open(context.Background(), f, "data/learned/global", keep)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// teachTopics learns n messages of topic 1 as spam and n of topic 2 as ham.
func teachTopics(t *testing.T, f fsx.FS, n int) {
	t.Helper()
	s := open(t, f, 1000)
	for i := range n {
		s.Learn(text(1, i), true, day)
		s.Learn(text(2, i), false, day)
	}
	commit(t, s)
}

func commit(t *testing.T, s *Store) {
	t.Helper()
	if err := errors.Join(s.Commit(), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestLearnsTopics(t *testing.T) {
	disk := fsx.NewMem()
	teachTopics(t, disk, 200)
	m, err := LoadModel(disk, "data/learned/global")
	if err != nil {
		t.Fatal(err)
	}
	if spam, ham := m.Learned(); spam != 200 || ham != 200 {
		t.Errorf("%d spam, %d ham", spam, ham)
	}
	right := 0
	for i := range 200 {
		if m.Judge(text(1, 1000+i)).Probability > 0.9 {
			right++
		}
		if m.Judge(text(2, 1000+i)).Probability < 0.1 {
			right++
		}
	}
	if right < 380 {
		t.Errorf("%d of 400 unseen messages are told surely", right)
	}
	if p := m.Judge(text(3, 1)).Probability; p < 0.02 || p > 0.98 {
		t.Errorf("of a topic that was never learned it is sure: %v", p)
	}
}

func TestSameStoreSameModel(t *testing.T) {
	disk := fsx.NewMem()
	teachTopics(t, disk, 50)
	s := open(t, disk, 1000)
	live := s.age()
	a, b := train(s.key, live), train(s.key, live)
	if !slices.Equal(a.encode(), b.encode()) {
		t.Error("two trainings differ")
	}
	s.Close()
}

func TestLearnForget(t *testing.T) {
	disk := fsx.NewMem()
	s := open(t, disk, 1000)
	a, b := text(1, 1), text(2, 2)
	for i, c := range []struct{ got, want Result }{
		{s.Learn(a, true, day), Learned},
		{s.Learn(a, true, day), Known},
		{s.Learn(b, true, day), Learned},
		{s.Learn(b, false, day), Relearned},
		{s.Forget(text(1, 3)), Unknown},
		{s.Forget(a), Forgotten},
		{s.Forget(a), Unknown},
		{s.Learn(a, true, day), Learned},
	} {
		if c.got != c.want {
			t.Errorf("step %d: %v, want %v", i, c.got, c.want)
		}
	}
	commit(t, s)
	s = open(t, disk, 1000)
	if spam, ham := s.Count(); spam != 1 || ham != 1 || s.Learn(b, false, day) != Known {
		t.Errorf("after opening: %d spam, %d ham", spam, ham)
	}
	s.Forget(a)
	s.Forget(b)
	commit(t, s)
	if m, err := LoadModel(disk, "data/learned/global"); err != nil || m.spam+m.ham != 0 {
		t.Errorf("forgotten: %v, %v", m, err)
	}
}

// TestForgottenLeavesNothing: the model after forgetting is that of a store
// which never learned it.
func TestForgottenLeavesNothing(t *testing.T) {
	disk := fsx.NewMem()
	teachTopics(t, disk, 30)
	before, _ := LoadModel(disk, "data/learned/global")
	s := open(t, disk, 1000)
	s.Learn(text(5, 1), true, day)
	commit(t, s)
	s = open(t, disk, 1000)
	s.Forget(text(5, 1))
	commit(t, s)
	after, _ := LoadModel(disk, "data/learned/global")
	before.logSize, before.logID = after.logSize, after.logID
	if !slices.Equal(before.encode(), after.encode()) {
		t.Error("the model still knows")
	}
}

// TestSameMailIsOne: what differs by recipient or trace is the same message.
func TestSameMailIsOne(t *testing.T) {
	a, b := text(1, 1), text(1, 1)
	b.Header.To = []filter.Address{{Addr: "else@example.net"}}
	b.Header.Names, b.Header.Hops = append(b.Header.Names, "received", "x-spam-status"), 7
	b.Header.DateOffset = 99
	if digest(a, 1) != digest(b, 1) {
		t.Error("they count twice")
	}
	c := text(1, 1)
	c.Body.Words = append(c.Body.Words, 1)
	if digest(a, 1) == digest(c, 1) || digest(a, 1) == digest(a, 2) {
		t.Error("another text, or another key, makes no difference")
	}
}

func TestAges(t *testing.T) {
	disk := fsx.NewMem()
	for i := range 30 {
		s := open(t, disk, 10)
		s.Learn(text(1, i), true, day)
		if i%3 == 0 {
			s.Learn(text(2, i), false, day)
		}
		commit(t, s)
	}
	s := open(t, disk, 10)
	if spam, ham := s.Count(); spam != 10 || ham != 10 {
		t.Errorf("%d spam and %d ham", spam, ham)
	}
	if s.Learn(text(1, 29), true, day) != Known || s.Learn(text(1, 19), true, day) != Learned {
		t.Error("the oldest should have gone, and the newest be there")
	}
	if len(s.lessons) > 0 && s.size > 60*(recordHead+bodyHead+64+4*250) {
		t.Errorf("the log is not compacted: %d octets", s.size)
	}
	s.Close()
}

func TestErase(t *testing.T) {
	disk := fsx.NewMem()
	teachTopics(t, disk, 10)
	if err := EraseDamaged(context.Background(), disk, "data/learned/global"); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadModel(disk, "data/learned/global"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the model: %v", err)
	}
	s := open(t, disk, 10)
	if spam, ham := s.Count(); spam+ham != 0 {
		t.Errorf("%d and %d", spam, ham)
	}
	s.Close()
}

func TestOneLearnsAtATime(t *testing.T) {
	disk := fsx.NewMem()
	s := open(t, disk, 10)
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, disk, "data/learned/global", 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	s.Close()
	open(t, disk, 10).Close()
}

// TestPowerCuts lets every call to the disk fail, with a power cut there: what
// Commit has acknowledged is there afterwards, and the store goes on.
func TestPowerCuts(t *testing.T) {
	for n := 1; ; n++ {
		disk := fsx.NewMem()
		cut := errors.New("power cut")
		faulty := &fsx.Faulty{FS: disk, Decide: func(call int, _ fsx.Op) error {
			if call >= n {
				return cut
			}
			return nil
		}}
		acknowledged := 0
		for i := range 6 {
			s, err := Open(context.Background(), faulty, "data/learned/global", 4)
			if err != nil {
				break
			}
			s.Learn(text(1, i), true, day)
			s.Learn(text(2, i), false, day)
			if err = s.Commit(); err == nil {
				acknowledged = i + 1
			}
			s.Close()
			if err != nil {
				break
			}
		}
		after := disk.Crash(rand.New(rand.NewPCG(uint64(n), 1)))
		s := open(t, after, 4)
		for i := max(0, acknowledged-4); i < acknowledged; i++ {
			if s.lessons[digest(text(1, i), s.key)] == nil && i >= acknowledged-3 {
				t.Errorf("cut at call %d: lesson %d of %d is lost", n, i, acknowledged)
			}
		}
		s.Learn(text(9, n), true, day)
		commit(t, s)
		if m, err := LoadModel(after, "data/learned/global"); err != nil || m.spam == 0 {
			t.Errorf("cut at call %d: %v", n, err)
		}
		if acknowledged == 6 {
			return
		}
	}
}

func TestTornAndDamaged(t *testing.T) {
	disk := fsx.NewMem()
	teachTopics(t, disk, 5)
	const name = "data/learned/global/" + logName
	data, _ := fsx.Content(disk, name)
	torn := append(slices.Clone(data), data[logHead:logHead+99]...)
	if err := replace(disk, "data/learned/global", logName, torn); err != nil {
		t.Fatal(err)
	}
	s := open(t, disk, 1000)
	s.Learn(text(1, 99), true, day)
	commit(t, s)
	s = open(t, disk, 1000)
	if spam, _ := s.Count(); spam != 6 {
		t.Errorf("%d spam after a torn record", spam)
	}
	s.Close()
	data, _ = fsx.Content(disk, name)
	data[len(data)/2] ^= 1
	replace(disk, "data/learned/global", logName, data)
	if _, err := Open(context.Background(), disk, "data/learned/global", 10); !errors.Is(err, ErrDamaged) {
		t.Errorf("damage: %v", err)
	}
	data[3] ^= 1
	replace(disk, "data/learned/global", logName, data)
	if _, err := Open(context.Background(), disk, "data/learned/global", 10); !errors.Is(err, ErrDamaged) {
		t.Errorf("damage of the header: %v", err)
	}
}

// TestOldVersion: what an older gateway learned is not taken for damage, nor
// for lessons; after an erasure it is as if it had never been.
func TestOldVersion(t *testing.T) {
	const dir = "data/learned/global"
	disk := fsx.NewMem()
	teachTopics(t, disk, 5)
	for _, name := range []string{logName, modelName} {
		data, err := fsx.Content(disk, dir+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		data[7] = '2'
		if err := replace(disk, dir, name, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(context.Background(), disk, dir, 10); !errors.Is(err, ErrOldVersion) {
		t.Errorf("the log: %v", err)
	}
	if _, err := LoadModel(disk, dir); !errors.Is(err, ErrOldVersion) {
		t.Errorf("the model: %v", err)
	}
	if err := EraseDamaged(context.Background(), disk, dir); err != nil {
		t.Fatal(err)
	}
	if s := open(t, disk, 10); s.size != 0 {
		t.Errorf("%d octets after the erasure", s.size)
	}
}

func TestNoTextIsKept(t *testing.T) {
	disk := fsx.NewMem()
	s := open(t, disk, 10)
	f := text(1, 1)
	f.Header.Subject = "confidential merger"
	s.Learn(f, true, day)
	a := s.lessons[digest(f, s.key)].all
	commit(t, s)
	for _, name := range []string{logName, modelName} {
		data, err := fsx.Content(disk, "data/learned/global/"+name)
		if err != nil || slices.Contains([]bool{containsText(data, "merger"), containsText(data, "anna@")}, true) {
			t.Errorf("%s: %v, or it has text of the message", name, err)
		}
	}
	e := new(extractor)
	if b := e.features(f, 77).all; slices.Equal(a, b) {
		t.Error("the key makes no difference")
	}
}

func containsText(data []byte, s string) bool { return slices.Contains(splitText(data), s) }

// splitText is every run of letters, digits and "@" of at least 4 octets.
func splitText(data []byte) (out []string) {
	from := 0
	for i, c := range data {
		if !isLetter(c) && c != '@' {
			if i-from >= 4 {
				out = append(out, string(data[from:i]))
			}
			from = i + 1
		}
	}
	return out
}

func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := fsx.NewMem()
		disk.MkdirAll("data/learned", 0o700)
		models := NewModels(disk, "data/learned", slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go models.Watch(ctx)
		check := NewCheck(models, 20)
		run := func(f *filter.Facts, to ...mail.Path) filter.Report {
			env := &mail.Envelope{}
			for _, p := range to {
				env.Recipients = append(env.Recipients, mail.Recipient{Path: p})
			}
			return check.Run(ctx, &filter.Transaction{Envelope: env, Facts: f})
		}
		if r := run(text(1, 500)); r.State != filter.Skipped || len(r.Symbols) != 0 {
			t.Errorf("before anything was learned: %+v", r)
		}
		teachTopics(t, disk, 19)
		time.Sleep(watchEvery + time.Second)
		if r := run(text(1, 500)); r.State != filter.Skipped || models.Ready(20) {
			t.Errorf("with too little: %+v", r)
		}
		teachTopics(t, disk, 60)
		time.Sleep(watchEvery + time.Second)
		r := run(text(1, 5))
		if r.State != filter.OK || len(r.Symbols) != 2 || r.Symbols[0].Name < "BAYES_95" || r.Symbols[1].Name != "FUZZY_SPAM_SAME" {
			t.Errorf("%+v", r)
		}
		if !models.Ready(20) {
			t.Error("nobody collects words for it")
		}
		if r := run(&filter.Facts{}); r.State != filter.Skipped {
			t.Errorf("without content: %+v", r)
		}
		late := text(1, 5)
		late.Body.Words = nil
		if r := run(late); r.State != filter.Skipped {
			t.Errorf("without words, which nobody wanted when it arrived: %+v", r)
		}
		// A domain that was taught the contrary.
		s, _ := Open(ctx, disk, Dir("data/learned", "other.example"), 100)
		for i := range 60 {
			s.Learn(text(1, i), false, day)
			s.Learn(text(2, i), true, day)
		}
		commit(t, s)
		time.Sleep(watchEvery + time.Second)
		if r := run(text(1, 500), "a@Other.Example", "b@other.example"); r.Symbols[0].Name > "BAYES_20" {
			t.Errorf("other.example: %+v", r.Symbols)
		}
		if r := run(text(1, 500), "a@other.example", "b@example.org"); r.Symbols[0].Name < "BAYES_80" {
			t.Errorf("two domains: %+v", r.Symbols)
		}
		// A model that cannot be read leaves the one before in force.
		replace(disk, "data/learned/global", modelName, []byte("rubbish"))
		time.Sleep(watchEvery + time.Second)
		if r := run(text(1, 500)); r.State != filter.OK {
			t.Errorf("with a damaged file: %+v", r)
		}
		fresh := NewCheck(NewModels(disk, "data/learned", slog.New(slog.DiscardHandler)), 20)
		if r := fresh.Run(ctx, &filter.Transaction{Envelope: &mail.Envelope{}, Facts: text(1, 1)}); r.State != filter.Error || r.Cause == nil {
			t.Errorf("started with a damaged file: %+v", r)
		}
	})
}

// TestUnreadableIsTriedAgain, though the file looks the same: who may read it
// can have changed.
func TestUnreadableIsTriedAgain(t *testing.T) {
	disk := fsx.NewMem()
	teachTopics(t, disk, 30)
	const dir = "data/learned/global"
	good, _ := fsx.Content(disk, dir+"/"+modelName)
	bad := slices.Clone(good)
	bad[100] ^= 1
	replace(disk, dir, modelName, bad)
	models := NewModels(disk, "data/learned", slog.New(slog.DiscardHandler))
	if s := models.of("", 1); s.err == nil {
		t.Fatal("a damaged model is taken")
	}
	replace(disk, dir, modelName, good)
	list, _ := disk.ReadDir(dir)
	for _, i := range list {
		if i.Name == modelName {
			models.current[""] = scope{err: errModel, at: i.ModTime, size: i.Size}
		}
	}
	models.Reload()
	if s := models.of("", 1); s.err != nil || s.model == nil {
		t.Errorf("the right one is not: %v", s.err)
	}
}

func TestSketch(t *testing.T) {
	a := text(1, 1)
	for _, c := range []struct {
		changed  int
		from, to int
	}{{0, 16, 16}, {2, 11, 16}, {50, 0, 6}} {
		b := text(1, 1)
		for i := range c.changed {
			b.Body.Words[i*(len(b.Body.Words)/max(1, c.changed))] = uint64(i)
		}
		x, _ := sketchOf(a, 1)
		y, _ := sketchOf(b, 1)
		if n := x.equal(&y); n < c.from || n > c.to {
			t.Errorf("%d words changed: %d parts are the same", c.changed, n)
		}
	}
	short := text(1, 1)
	short.Body.Words = short.Body.Words[:sketchWords-1]
	if _, ok := sketchOf(short, 1); ok {
		t.Error("a short text has a sketch")
	}
	for _, c := range []struct {
		spam, ham int
		want      string
	}{{16, 0, "FUZZY_SPAM_SAME"}, {16, 16, ""}, {12, 3, "FUZZY_SPAM_CLOSE"}, {8, 0, "FUZZY_SPAM_LIKE"}, {6, 0, ""}} {
		if got := fuzzy(c.spam, c.ham); got != c.want {
			t.Errorf("%d of spam, %d of ham: %q", c.spam, c.ham, got)
		}
	}
}

func FuzzReadRecord(f *testing.F) {
	l := &lesson{spam: true, day: 3, digest: 4, sketched: true, features: features{all: []uint32{1, 2, 3, 4}, shared: 1, own: [views]int{1, 1, 1}}}
	f.Add(appendRecord(nil, l, false))
	f.Add(appendRecord(nil, l, true))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, forget, n := readRecord(b)
		if n > len(b) {
			t.Fatal("longer than there is")
		}
		if n > 0 && !forget && !slices.Equal(appendRecord(nil, l, false), b[:n]) {
			t.Errorf("%x comes back as %x", b[:n], appendRecord(nil, l, false))
		}
	})
}

func FuzzDecodeModel(f *testing.F) {
	m := train(1, []*lesson{{spam: true, sketched: true}})
	f.Add(m.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeModel(b); err == nil {
			m.Judge(text(1, 1))
		}
	})
}

// BenchmarkJudge is a text of 700 words, as 4 KB have, the source of its
// beginning, and ten links, against a full model.
func BenchmarkJudge(b *testing.B) {
	lessons := make([]*lesson, 2000)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range lessons {
		lessons[i] = &lesson{spam: i%2 == 0, digest: rng.Uint64(), sketched: true}
		for k := range lessons[i].sketch {
			lessons[i].sketch[k] = rng.Uint32()
		}
		for range 400 {
			lessons[i].all = append(lessons[i].all, rng.Uint32())
		}
		lessons[i].shared, lessons[i].own = 100, [views]int{50, 150, 100}
	}
	m := train(1, lessons)
	f := text(1, 1)
	for len(f.Body.Words) < 700 {
		f.Body.Words = append(f.Body.Words, rng.Uint64())
	}
	for range 700 {
		f.Body.Source = append(f.Body.Source, rng.Uint64())
	}
	for i := range 10 {
		f.Body.URLs = append(f.Body.URLs, filter.URL{Host: fmt.Sprintf("www%d.shop.example", i), Domain: "shop.example", Path: fmt.Sprint("/offers/", i, "/click?id=ab", i)})
	}
	f.Header.ReplyTo = f.Header.From
	b.ReportAllocs()
	start, n := processorTime(), 0
	for b.Loop() {
		m.Judge(f)
		n++
	}
	b.ReportMetric(float64(processorTime()-start)/float64(n)/1e3, "cpu-µs/op")
}

// processorTime says something on a busy machine, too.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
