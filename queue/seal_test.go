package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

var testKeys = []Key{{1, 2, 3}}

func sealedOptions(keys []Key) Options {
	return Options{SegmentSize: 256 << 10, SpillAt: 32 << 10, MinFreeBytes: 1, MinFreeInodes: 1, Metrics: modelMetrics, Keys: keys}
}

func openSealed(t *testing.T, fsys fsx.FS, keys []Key) *Queue {
	t.Helper()
	q, err := open(fsys, "/spool", sealedOptions(keys), true)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func wantContent(t *testing.T, q *Queue, id mail.ID, body []byte) {
	t.Helper()
	m, err := q.Message(id)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	got, err := contentOf(m, 0)
	if err != nil || !bytes.Equal(got, append([]byte(testHead), body...)) {
		t.Fatalf("%s: %d octets, want %d (%v)", id, len(got), len(testHead)+len(body), err)
	}
}

func TestParseKeys(t *testing.T) {
	a, b := NewKeyLine(), NewKeyLine()
	keys, err := ParseKeys([]byte("# of 2026\n" + a + "\r\n" + b))
	if err != nil || len(keys) != 2 || keys[0] == keys[1] {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for name, text := range map[string]string{
		"empty": "", "comment": "# x\n", "no key": "secret\n", "short": keyPrefix + "AAAA\n",
		"no base64": keyPrefix + strings.Repeat("!", 44) + "\n", "cut": a[:len(a)-3],
	} {
		if _, err := ParseKeys([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		} else if len(text) > 4 && strings.Contains(err.Error(), text[len(text)-4:]) && name != "comment" {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s", keys[0], keys, Options{Keys: keys}.Keys, keys); strings.ContainsAny(s, "0123456789") {
		t.Errorf("a key shows itself: %s", s)
	}
}

// TestWrongKey: with a key that is not the right one, or none, nothing opens,
// and nothing is touched.
func TestWrongKey(t *testing.T) {
	mem := fsx.NewMem()
	q := openSealed(t, mem, testKeys)
	id := mustPut(t, q, []byte("body\r\n"), "a@d.example")
	q.Close()
	for name, keys := range map[string][]Key{"none": nil, "another": {{9}}} {
		counted := &fsx.Faulty{FS: mem}
		_, err := open(counted, "/spool", sealedOptions(keys), true)
		if !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
		if n := counted.Calls(); n > 0 {
			t.Errorf("%s: the spool was touched: %d calls", name, n)
		}
		if err := Peek(mem, "/spool", sealedOptions(keys), func(*Queue) error { return nil }); !errors.Is(err, ErrKey) {
			t.Errorf("%s: peek: %v", name, err)
		}
	}
	q = openSealed(t, mem, append([]Key{{9}}, testKeys...)) // the new one first, the old one still there
	wantContent(t, q, id, []byte("body\r\n"))
	q.Close()
	q = openSealed(t, mem, []Key{{9}})
	wantContent(t, q, id, []byte("body\r\n"))
	q.Close()
}

// TestLostEpoch: a key that is still needed is gone from the spool. Nothing is
// touched until an admin gives its messages up; then they are counted.
func TestLostEpoch(t *testing.T) {
	mem := fsx.NewMem()
	q := openSealed(t, mem, testKeys)
	first := mustPut(t, q, []byte("one\r\n"), "a@d.example")
	if err := q.keys.begin(q); err != nil {
		t.Fatal(err)
	}
	second := mustPut(t, q, []byte("two\r\n"), "a@d.example")
	q.Close()
	if err := mem.Remove("/spool/keys/00000001.key"); err != nil {
		t.Fatal(err)
	}
	touched := &fsx.Faulty{FS: mem, Decide: func(_ int, op fsx.Op) error {
		if op.Kind != "mkdir" { // of what is there
			t.Errorf("the spool was touched: %+v", op)
		}
		return nil
	}}
	_, err := open(touched, "/spool", sealedOptions(testKeys), true)
	if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "00000001.lost") {
		t.Fatal(err)
	}
	mustWrite(t, mem, "/spool/keys/00000001.lost", "")
	q = openSealed(t, mem, testKeys)
	if _, ok := q.Get(first); ok {
		t.Error("a message without its key is in the queue")
	}
	wantContent(t, q, second, []byte("two\r\n"))
	q.Close()
}

func mustWrite(t *testing.T, fsys fsx.FS, name, text string) {
	t.Helper()
	f, err := fsys.Open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// TestErasedIsUnreadable: within a day of its end nothing can read a message,
// though somebody kept all that the disk ever held, and has the master key.
// What is not over is relocated, and stays.
func TestErasedIsUnreadable(t *testing.T) {
	mem := fsx.NewMem()
	var order []string
	watched := &fsx.Faulty{FS: mem, Decide: func(_ int, op fsx.Op) error {
		if strings.HasSuffix(op.Name, "00000001.key") || op.Name == "/spool/keys" {
			order = append(order, op.Kind)
		}
		return nil
	}}
	q := openSealed(t, watched, testKeys)
	body := bytes.Repeat([]byte("never to be seen\r\n"), 4000)
	erased, big := mustPut(t, q, []byte("body\r\n"), "a@d.example"), mustPut(t, q, body, "a@d.example")
	stays, bigStays := mustPut(t, q, []byte("stays\r\n"), "a@d.example"), mustPut(t, q, body, "a@d.example")
	before := mem.Clone()
	for _, id := range []mail.ID{erased, big} {
		if err := q.Erase(id); err != nil {
			t.Fatal(err)
		}
	}
	pace := func() bool { return q.flush() == nil }
	now := time.Now()
	q.turnKeys(now.Add(epochLength), pace) // a new epoch; the old one has survivors
	if q.keys.get(1) == nil {
		t.Fatal("the key is gone before its messages are")
	}
	order = nil
	q.turnKeys(now.Add(24*time.Hour-time.Minute), pace)
	if q.keys.get(1) != nil {
		t.Fatal("the key is still there")
	}
	if got := strings.Join(order, " "); !strings.Contains(got, "write datasync remove syncdir") {
		t.Errorf("the key was not destroyed as it should: %s", got)
	}
	wantContent(t, q, stays, []byte("stays\r\n"))
	wantContent(t, q, bigStays, body)
	q.Close()
	// The disk as it was before, with the keys that there are now.
	after := keyFiles(t, mem)
	infos, _ := before.ReadDir("/spool/keys")
	for _, info := range infos {
		before.Remove("/spool/keys/" + info.Name)
	}
	for name, text := range after {
		mustWrite(t, before, name, text)
	}
	mustWrite(t, before, "/spool/keys/00000001.lost", "")
	old := openSealed(t, before, testKeys)
	for it := range old.List(Filter{}) {
		t.Errorf("%s can be read", it.ID)
	}
	old.Close()
	q = openSealed(t, mem, testKeys)
	wantContent(t, q, stays, []byte("stays\r\n"))
	wantContent(t, q, bigStays, body)
	q.Close()
}

func keyFiles(t *testing.T, mem *fsx.Mem) map[string]string {
	t.Helper()
	files := map[string]string{}
	infos, err := mem.ReadDir("/spool/keys")
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		b, err := readWhole(mem, "/spool/keys/"+info.Name, keyFileLen)
		if err != nil {
			t.Fatal(err)
		}
		files["/spool/keys/"+info.Name] = string(b)
	}
	return files
}

// TestEmptyQueueNeedsNoKey: encryption can be switched off once all is
// relayed.
func TestEmptyQueueNeedsNoKey(t *testing.T) {
	mem := fsx.NewMem()
	q := openSealed(t, mem, testKeys)
	id := mustPut(t, q, []byte("body\r\n"), "a@d.example")
	if err := q.Delete(id); err != nil {
		t.Fatal(err)
	}
	q.Close()
	q = openSealed(t, mem, nil)
	id = mustPut(t, q, []byte("clear\r\n"), "a@d.example")
	q.Close()
	q = openSealed(t, mem, testKeys) // and on again
	wantContent(t, q, id, []byte("clear\r\n"))
	q.Close()
}

// TestSealedSpoolIsSilent: whoever has the disk finds no address, no reply and
// no octet of a message on it; corrupt/ and what arrives included.
func TestSealedSpoolIsSilent(t *testing.T) {
	mem := fsx.NewMem()
	q := openSealed(t, mem, testKeys)
	body := bytes.Repeat([]byte("CANARY-BODY\r\n"), 8000)
	m := newMessage(nil, "canary-rcpt@canary-domain.example")
	m.Envelope.Recipients[0].ORcpt, m.Envelope.EnvID = "rfc822;canary-orcpt", "canary-envid"
	m.Envelope.Recipients[0].Hold = "quarantine:CANARY_HOLD"
	if err := put(q, m, body); err != nil {
		t.Fatal(err)
	}
	small := mustPut(t, q, body[:3000], "canary-rcpt@canary-domain.example")
	if err := q.Reroute(small, "canary-hop.example:25"); err != nil {
		t.Fatal(err)
	}
	in, err := q.Begin(context.Background(), 0) // one that stands still
	if err != nil {
		t.Fatal(err)
	}
	in.Write(append([]byte(testHead), body...))
	q.mu.Lock()
	e := q.entries[small]
	s := rcptState{attempts: 1, nextHop: "canary-hop.example:25", reply: mail.Reply{Code: 450, Text: "CANARY-REPLY"}}
	b := q.append(appendix{e: e, kind: recDefer, states: []rcptState{s}})
	q.mu.Unlock()
	q.wait(b)
	q.mu.Lock()
	q.relocate(e)
	q.mu.Unlock()
	q.flush()
	for _, s := range q.sorted() {
		q.mu.Lock()
		s.sealed = true
		q.mu.Unlock()
		q.makeDigest(s)
	}
	files := spoolFiles(t, mem)
	for name, raw := range files {
		if bytes.Contains(bytes.ToLower(raw), []byte("canary")) || bytes.Contains(raw, []byte("192.0.2.66")) {
			t.Errorf("%s speaks", name)
		}
	}
	if len(digestsOf(mem)) == 0 || len(files) < 6 {
		t.Errorf("%d files: the test has shown nothing", len(files))
	}
	in.Abort()
	q.Close()
}

// spoolFiles are the octets of all files of /spool by name.
func spoolFiles(t *testing.T, mem *fsx.Mem) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, dir := range []string{"", "/seg", "/big", "/keys", "/corrupt"} {
		infos, err := mem.ReadDir("/spool" + dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, info := range infos {
			name := "/spool" + dir + "/" + info.Name
			files[name], _ = readWhole(mem, name, int(info.Size))
		}
	}
	return files
}

// TestSealedChunks: bodies around the borders of chunks come back, beside the
// arrival and after it; what is flipped, cut or exchanged does not.
func TestSealedChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int64{1, 100, chunkPlain - 1, chunkPlain, chunkPlain + 1, 3 * chunkPlain, 3*chunkPlain + 5} {
		for _, offset := range []int64{0, 1, 99, chunkPlain, chunkPlain + 7, size} {
			if offset > size {
				continue
			}
			mem := fsx.NewMem()
			f, _ := mem.Open("/f", os.O_RDWR|os.O_CREATE, 0o600)
			s := newSealedFile(f)
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(r.IntN(256))
			}
			for p := data; len(p) > 0; {
				n := min(len(p), 1+r.IntN(2*chunkPlain))
				if err := s.write(p[:n]); err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
			at := r.Int64N(size)
			piece := make([]byte, min(size-at, 1+r.Int64N(2*chunkPlain)))
			if n, err := s.readAt(piece, at, size, s.tail); err != nil || n < len(piece) || !bytes.Equal(piece, data[at:][:n]) {
				t.Fatalf("size %d: %d at %d beside the arrival: %d, %v", size, len(piece), at, n, err)
			}
			if err := s.finish(offset); err != nil {
				t.Fatal(err)
			}
			if n, _ := f.Size(); n != sealedLen(size) {
				t.Fatalf("size %d: file of %d, want %d", size, n, sealedLen(size))
			}
			ref := bigRef{size: size - offset, offset: offset, key: s.key}
			if got, err := readSealed(mem, ref); err != nil || !bytes.Equal(got, data[offset:]) {
				t.Fatalf("size %d offset %d: %d octets, %v", size, offset, len(got), err)
			}
			mangle(t, mem, ref, r)
		}
	}
}

func readSealed(mem *fsx.Mem, ref bigRef) ([]byte, error) {
	f, err := mem.Open("/f", os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	rd := newSealedReader(f, ref)
	defer rd.Close()
	return io.ReadAll(rd)
}

// mangle expects each fault in the part that is read to be found.
func mangle(t *testing.T, mem *fsx.Mem, ref bigRef, r *rand.Rand) {
	t.Helper()
	first := ref.offset / chunkPlain * chunkSealed
	size := sealedLen(ref.offset + ref.size)
	if first >= size {
		first = size - tagSize
	}
	bad := func(what string, image *fsx.Mem, ref bigRef) {
		if _, err := readSealed(image, ref); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%+v: %s: %v", ref, what, err)
		}
	}
	image := mem.Clone()
	image.Flip("/f", first+r.Int64N(size-first), 1)
	bad("flip", image, ref)
	image = mem.Clone()
	f, _ := image.Open("/f", os.O_RDWR, 0)
	f.Truncate(size - 1)
	bad("cut", image, ref)
	if whole := ref.offset + ref.size; whole > 2*chunkPlain && ref.offset < chunkPlain {
		f.Truncate(2 * chunkSealed)
		bad("cut at a chunk", image, bigRef{size: 2*chunkPlain - ref.offset, offset: ref.offset, key: ref.key})
		image = mem.Clone()
		f, _ = image.Open("/f", os.O_RDWR, 0)
		a := make([]byte, chunkSealed)
		f.ReadAt(a, chunkSealed)
		f.WriteAt(a, 0)
		bad("exchanged", image, ref)
	}
}

// TestRekeyAtEveryCall: the disk fails at each call of a change of the master
// key in turn, and the machine at the same moment. With both keys the spool
// opens; once Rekey has returned, with the new one alone.
func TestRekeyAtEveryCall(t *testing.T) {
	base := fsx.NewMem()
	q := openSealed(t, base, testKeys)
	id := mustPut(t, q, []byte("one\r\n"), "a@d.example")
	if err := q.keys.begin(q); err != nil {
		t.Fatal(err)
	}
	mustPut(t, q, []byte("two\r\n"), "a@d.example")
	q.Close()
	fresh := Key{7}
	r := rand.New(rand.NewPCG(3, 3))
	calls := 0
	for at := 1; ; at++ {
		for range 4 {
			mem := base.Clone()
			disk := &fsx.Faulty{FS: mem}
			q := openSealed(t, disk, testKeys)
			before := disk.Calls()
			disk.Decide = func(n int, op fsx.Op) error {
				if n == before+at {
					return errDisk
				}
				return nil
			}
			err := q.Rekey([]Key{fresh, testKeys[0]})
			if err == nil {
				q.Close()
				q = openSealed(t, mem, []Key{fresh})
				wantContent(t, q, id, []byte("one\r\n"))
				q.Close()
				calls = at - 1
				break
			}
			image := mem.Crash(r)
			q.Close()
			q = openSealed(t, image, []Key{fresh, testKeys[0]})
			wantContent(t, q, id, []byte("one\r\n"))
			if err := q.Rekey([]Key{fresh, testKeys[0]}); err != nil {
				t.Fatal(err)
			}
			q.Close()
			q = openSealed(t, image, []Key{fresh})
			wantContent(t, q, id, []byte("one\r\n"))
			q.Close()
		}
		if calls > 0 {
			break
		}
	}
	t.Logf("%d calls", calls)
	if calls < 12 {
		t.Errorf("only %d calls failed", calls)
	}
}

var errDisk = errors.New("disk failed")

// readFile can be read, and nothing else.
type readFile struct {
	fsx.File
	b []byte
}

func (f readFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.b).ReadAt(p, off)
}

// FuzzChunks reads whatever lies in the file of a large message: no panic, and
// nothing comes out but what was sealed, up to where the damage is.
func FuzzChunks(f *testing.F) {
	key := &dataKey{}
	key.aead = newAEAD(key.key[:])
	whole := bytes.Repeat([]byte("sealed\r\n"), chunkPlain/8+10)
	seal := func(offset int64) []byte {
		mem := fsx.NewMem()
		file, _ := mem.Open("/f", os.O_RDWR|os.O_CREATE, 0o600)
		s := &sealedFile{f: file, key: key}
		if err := errors.Join(s.write(whole), s.finish(offset)); err != nil {
			f.Fatal(err)
		}
		b, _ := readWhole(mem, "/f", 1<<20)
		return b
	}
	f.Add(seal(0), int64(len(whole)), int64(0))
	f.Add(seal(100), int64(len(whole)-100), int64(100))
	f.Add([]byte{}, int64(0), int64(0))
	f.Add(seal(0)[:chunkSealed], int64(chunkPlain), int64(0))
	f.Fuzz(func(t *testing.T, file []byte, size, offset int64) {
		if size < 0 || offset < 0 || size+offset < 0 {
			return // refused when the record is read
		}
		got, err := io.ReadAll(newSealedReader(readFile{b: file}, bigRef{size: size, offset: offset, key: key}))
		if err == nil && int64(len(got)) != size {
			t.Fatalf("%d octets of %d without an error", len(got), size)
		}
		if n := min(int64(len(got)), max(int64(len(whole))-offset, 0)); n < int64(len(got)) || !bytes.Equal(got, whole[offset:][:n]) {
			t.Fatalf("%d octets that nobody sealed", len(got))
		}
	})
}
