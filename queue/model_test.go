package queue

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/internal/fsx"
	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// The model test runs random histories of the queue on a simulated disk that
// crashes, tears, reorders and fails, and compares with a model that knows only
// what the queue said. Every history is a function of its seed.
//
//	I1  acknowledged and not over: there after any crash, content equal
//	I2  nothing is relayed that is not exactly what was brought
//	I3  no acknowledgement before the sync (follows from I1 under crashes)
//	I4  no use of a descriptor after its sync failed
//	I5  a recipient is relayed again only after a crash, or an unsynced outcome
//	I6  durably over: never relayed again
//	I7  what is recovered was once brought
//	I8  recovering twice gives the same
//	I12 where there are keys, nothing lies on the disk in clear
//	I13 the accounts are even at every step
//	I14 what is recovered by digests is what is recovered by surveys, and by
//	    careful scans
//	I15 after a change of the master key no disk that a power cut leaves needs
//	    the old one
//	I16 once Shred has said so, nothing that is over can be read
var (
	seedFlag = flag.Uint64("seed", 0, "run the one history of this seed")
	many     = flag.Int("histories", 0, "how many histories, from a seed of today")
	baseFlag = flag.Uint64("base", 0, "the first seed of -histories; for the processes that share the work")
	torture  = flag.Bool("torture", false, "run the large sizes of the harnesses")
)

func sized(t testing.TB, ci, large int) int {
	if *torture {
		return large
	}
	if testing.Short() {
		return ci / 4
	}
	return ci
}

var modelMetrics = NewMetrics(prometheus.NewRegistry())

type history struct {
	seed   uint64
	r      *rand.Rand
	mem    *fsx.Mem
	fs     *fsx.Faulty
	q      *Queue
	hooks  hooks
	starts int
	msgs   map[mail.ID]*modelMessage
	order  []*modelMessage
	dsns   map[string]bool // recipient reported
	keys   []Key           // none: nothing is sealed
	plain  bool            // something was written before there were keys
	log    []note
	fault  int // calls until one fails, 0: none
	errno  error

	piece [8 << 10]byte // of a body that is read

	crashes, faults, acked, relays, dups, again, digests, destroyed int
	stopped, attempting                                             bool
	wrong                                                           string
}

type modelMessage struct {
	id      mail.ID
	sum     uint32
	acked   bool
	unknown bool // Commit failed, or a change with unknown outcome
	rcpts   []modelRcpt
}

type modelRcpt struct {
	path    mail.Path
	over    bool // relayed, failed or deleted, as far as we were told
	durable bool // and that is on the disk
	failed  bool
	relayed int
	to      mail.Destination // where an admin rerouted it to
	toAny   bool             // or perhaps not: the disk failed
}

// note is a line of the log, which is only written when it is wanted.
type note struct {
	format string
	args   []any
}

func (n note) String() string { return fmt.Sprintf(n.format, n.args...) }

func (h *history) note(f string, args ...any) { h.log = append(h.log, note{f, args}) }

// broken ends a history that found a fault.
type broken struct{ msg string }

// fail ends the history; within an attempt, as soon as that is over.
func (h *history) fail(f string, args ...any) {
	if h.wrong == "" {
		h.wrong = fmt.Sprintf(f, args...)
	}
	if !h.attempting {
		panic(broken{h.wrong})
	}
}

func (h *history) options() Options {
	hk := h.hooks
	h.starts++          // the crashes here are power cuts: no message's doing
	hk.chunk = 32 << 10 // made anew at each of many starts
	hk.boot = func() string { return strconv.Itoa(h.starts) }
	return Options{
		SegmentSize: 32 << 10, SpillAt: 3 << 10, MinFreeBytes: 1, MinFreeInodes: 1, MemoryLimit: h.memory(),
		Retry: Schedule{First: 1, Max: 1}, hooks: hk, Metrics: modelMetrics, Keys: h.keys,
		Compress: h.compressed(), LowRate: 60_000,
	}
}

// compressed are the messages of half of the histories.
func (h *history) compressed() bool { return h.seed/8%2 == 0 }

// memory: half of the histories read recent messages from it.
func (h *history) memory() int64 {
	if h.seed/4%2 == 0 {
		return 8 << 20
	}
	return 64 << 10
}

func (h *history) decide(n int, op fsx.Op) error {
	if h.fault == 0 {
		return nil
	}
	if h.fault--; h.fault == 0 {
		h.faults++
		h.note("fault %v at %s %s", h.errno, op.Kind, op.Name)
		if h.errno == fsx.ErrShort && op.Kind != "write" {
			return syscall.EIO
		}
		return h.errno
	}
	return nil
}

func (h *history) open() {
	for {
		h.again += h.againNow()
		h.fs = &fsx.Faulty{FS: h.mem, Decide: h.decide}
		q, err := open(h.fs, "/spool", h.options(), true)
		if err == nil {
			h.q = q
			break
		}
		h.note("open: %v", err)
		if h.fault == 0 && h.errno == nil {
			h.fail("open without a fault: %v", err)
		}
		h.fault, h.errno = 0, nil
	}
	h.stopped = false
	q := h.q
	q.mu.Lock()
	q.stopping = true // no workers: the history makes each attempt itself
	q.attempts, q.deliver = context.Background(), (*historyHop)(h)
	q.route = func(p mail.Path) mail.Destination { return "d" }
	for _, dom := range q.domains {
		q.setDest(dom, q.dest(q.routeTo(dom, dom.path())))
	}
	q.mu.Unlock()
}

func (h *history) againNow() int {
	if h.fs == nil {
		return 0
	}
	return h.fs.SyncsAfterFailure()
}

// historyHop is the next hop of a history.
type historyHop history

func (hop *historyHop) Route(mail.Path) mail.Destination { return "d" }

var finalRecipient = regexp.MustCompile(`Final-Recipient: rfc822; (\S+)`)

func (hop *historyHop) Deliver(_ context.Context, d mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome)) {
	h := (*history)(hop)
	for _, i := range rcpts {
		if m.Envelope.ReversePath.IsNull() {
			content, err := contentOf(m, i)
			if err != nil {
				h.fail("content of %s: %v", m.Envelope.ID, err)
			}
			for _, f := range finalRecipient.FindAllSubmatch(content, -1) {
				h.dsns[string(f[1])] = true
			}
			done(mail.Outcome{Recipient: i, Result: mail.Relayed})
			continue
		}
		h.route(m.Envelope.ID, i, d)
		sum, err := h.sum(m, i)
		if err != nil {
			h.fail("content of %s: %v", m.Envelope.ID, err)
		}
		done(h.outcome(m, i, sum))
	}
}

// route checks that a reroute is kept, as long as nothing else was said.
func (h *history) route(id mail.ID, i int, d mail.Destination) {
	mm := h.msgs[id]
	if mm == nil || mm.rcpts[i].toAny {
		return
	}
	if want := cmp.Or(mm.rcpts[i].to, "d"); d != want {
		h.fail("%s to %s went to %s, rerouted to %s", id, mm.rcpts[i].path, d, want)
	}
}

// sum is the checksum of a message as recipient number i gets it.
func (h *history) sum(m *mail.Message, i int) (uint32, error) {
	r, err := m.Body.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	sum := crc32.ChecksumIEEE(m.Heads[m.Envelope.Recipients[i].Head])
	for {
		n, err := r.Read(h.piece[:])
		sum = crc32.Update(sum, crc32.IEEETable, h.piece[:n])
		if err == io.EOF {
			return sum, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func (h *history) outcome(m *mail.Message, i int, sum uint32) mail.Outcome {
	mm := h.msgs[m.Envelope.ID]
	if mm == nil {
		h.fail("I7: %s was never brought", m.Envelope.ID)
		return mail.Outcome{Recipient: i, Result: mail.Deferred}
	}
	if sum != mm.sum {
		h.fail("I2: %s relayed with other content", mm.id)
	}
	r := &mm.rcpts[i]
	if r.path != m.Envelope.Recipients[i].Path {
		h.fail("I2: %s relayed to %s, want %s", mm.id, m.Envelope.Recipients[i].Path, r.path)
	}
	if r.over && r.durable {
		h.fail("I6: %s to %s relayed again, and it was durably over", mm.id, r.path)
	}
	if r.over {
		h.fail("I5: %s to %s relayed again without a crash", mm.id, r.path)
	}
	o := mail.Outcome{Recipient: i, Result: mail.Deferred, Reply: mail.Reply{Code: 451, Text: "later"}}
	switch h.r.IntN(6) {
	case 0:
		o.Result, o.Reply.Code = mail.Failed, 550
		r.over, r.failed = true, true
	case 1, 2, 3:
		o.Result, o.Reply.Code = mail.Relayed, 250
		r.over = true
		if r.relayed++; r.relayed > 1 {
			h.dups++
		}
		h.relays++
	}
	return o
}

func (h *history) id() mail.ID {
	var id mail.ID
	le.PutUint64(id[0:], h.r.Uint64())
	le.PutUint64(id[8:], uint64(len(h.order))+1)
	return id
}

// letters are what bodies are made of.
var letters = func() (b [64 << 10]byte) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	return b
}()

// body is n letters that no other message has.
func (h *history) body(n int) []byte {
	body := slices.Clone(letters[h.r.IntN(len(letters)-n):][:n])
	copy(body, fmt.Sprintf("%x.", h.r.Uint64()))
	for i := 64; i < n && h.compressed(); i++ {
		body[i] = body[i-64]
	}
	return body
}

func (h *history) put() {
	mm := &modelMessage{id: h.id()}
	body := h.body(h.r.IntN(6000))
	m := newMessage(nil)
	m.Envelope.ID, m.Envelope.Low = mm.id, len(h.order)%7 == 0
	for i := range 1 + h.r.IntN(3) {
		p := mail.Path(fmt.Sprintf("u%d-%d@d.example", len(h.order), i))
		hold := ""
		if h.r.IntN(10) == 0 {
			hold = "quarantine:X"
		}
		m.Envelope.Recipients = append(m.Envelope.Recipients, mail.Recipient{Path: p, Hold: hold})
		mm.rcpts = append(mm.rcpts, modelRcpt{path: p})
	}
	mm.sum = crc32.ChecksumIEEE(append([]byte(testHead), body...))
	h.msgs[mm.id] = mm
	h.order = append(h.order, mm)
	err := put(h.q, m, body)
	synctest.Wait() // the writer may still be busy with a failure
	h.note("put %s %d: %v", mm.id, len(body), err)
	mm.acked, mm.unknown = err == nil, err != nil
	if err == nil {
		h.acked++
	}
	if err != nil && h.faults == 0 {
		h.fail("put without a fault: %v", err)
	}
}

func (h *history) attempts(n int) {
	q := h.q
	h.attempting = true
	defer func() {
		if h.attempting = false; h.wrong != "" {
			panic(broken{h.wrong})
		}
	}()
	q.mu.Lock()
	defer q.mu.Unlock()
	for range n {
		for len(q.due) > 0 {
			q.ripen(q.dueNow(), q.nowMilli()+1000)
		}
		u, ok := q.pick()
		if !ok {
			return
		}
		h.note("attempt %s %v", u.e.id, u.rcpts)
		q.attempt(u)
	}
}

func (q *Queue) dueNow() *entry {
	e := q.due[0].e
	q.due = q.due[1:]
	return e
}

// sync makes everything durable, when the queue says so.
func (h *history) sync() {
	err := h.q.flush()
	synctest.Wait()
	if err != nil {
		h.note("flush: %v", err)
		return
	}
	if h.q.log.health() != nil {
		return
	}
	for _, mm := range h.order {
		for i := range mm.rcpts {
			if r := &mm.rcpts[i]; r.over {
				r.durable = true
			}
		}
	}
	h.accounts()
}

func (h *history) accounts() {
	if n := h.q.Stats().Ledger.Imbalance(); n != 0 {
		h.fail("I13: imbalance %d: %+v", n, h.q.Stats().Ledger)
	}
}

func (h *history) pickMessage() *modelMessage {
	if len(h.order) == 0 {
		return nil
	}
	return h.order[h.r.IntN(len(h.order))]
}

func (h *history) admin() {
	mm := h.pickMessage()
	if mm == nil {
		return
	}
	switch h.r.IntN(5) {
	case 0:
		h.note("hold %s: %v", mm.id, h.q.Hold(mm.id))
	case 1:
		h.note("release %s: %v", mm.id, h.q.Release(mm.id))
	case 2:
		if h.r.IntN(4) > 0 {
			return
		}
		err := h.q.Delete(mm.id)
		h.note("delete %s: %v", mm.id, err)
		if err == nil || errors.Is(err, ErrPoisoned) {
			for i := range mm.rcpts {
				r := &mm.rcpts[i]
				r.durable = r.durable || err == nil && h.q.log.health() == nil
				r.over = true
			}
		}
	case 3:
		h.reroute(mm, []mail.Destination{"", "elsewhere:25", "mx.example:25"}[h.r.IntN(3)])
	case 4:
		if h.r.IntN(3) == 0 {
			h.bounce(mm)
		}
	}
}

func (h *history) reroute(mm *modelMessage, to mail.Destination) {
	err := h.q.Reroute(mm.id, to)
	h.note("reroute %s to %q: %v", mm.id, to, err)
	if errors.Is(err, ErrNotFound) {
		return
	}
	for i := range mm.rcpts {
		if r := &mm.rcpts[i]; !r.over {
			r.to, r.toAny = to, err != nil || h.q.log.health() != nil
		}
	}
}

// bounce ends what is left; a DSN must go out for each.
func (h *history) bounce(mm *modelMessage) {
	err := h.q.Bounce(mm.id)
	h.note("bounce %s: %v", mm.id, err)
	if err != nil && !errors.Is(err, ErrPoisoned) {
		return
	}
	for i := range mm.rcpts {
		if r := &mm.rcpts[i]; !r.over {
			r.over, r.failed = true, true
			r.durable = err == nil && h.q.log.health() == nil
		}
	}
}

// reboot is a restart: after a clean end, a crash of the process, or a power cut.
func (h *history) reboot(kind int) {
	h.fault, h.errno = 0, nil
	switch kind {
	case 0:
		h.note("restart")
		h.q.Close()
		if h.q.log.health() == nil {
			// What was appended is synced by now.
			for _, mm := range h.order {
				for i := range mm.rcpts {
					if r := &mm.rcpts[i]; r.over {
						r.durable = true
					}
				}
			}
		}
	default:
		h.note("power cut")
		h.crashes++
		// Nothing is let through to the disk from here on.
		mem := h.mem.Crash(h.r)
		h.q.Close()
		h.mem = mem
	}
	switch h.r.IntN(8) {
	case 0:
		h.recoverTwice()
	case 1, 2:
		h.recoverWithout()
	case 3:
		spoilDigests(h.mem, h.r)
	}
	if h.plain && h.keys == nil && h.r.IntN(2) == 0 {
		h.keys = []Key{h.key()}
	}
	if h.r.IntN(4) == 0 { // the disk may fail in recovery, too
		h.fault, h.errno = 1+h.r.IntN(12), syscall.EIO
	}
	h.open()
	h.check()
}

// recoverTwice is I8: on copies, with a crash in between.
func (h *history) recoverTwice() {
	image := h.mem.Clone()
	var dumps [2]string
	for i := range dumps {
		q, err := open(image, "/spool", h.options(), true)
		if err != nil {
			h.fail("I8: open: %v", err)
		}
		dumps[i] = dump(q)
		if i == 0 {
			next := image.Crash(rand.New(rand.NewPCG(h.seed, 7)))
			q.Close()
			image = next
			continue
		}
		q.Close()
	}
	if dumps[0] != dumps[1] {
		h.fail("I8: recovered\n%s\nand again\n%s", dumps[0], dumps[1])
	}
}

// recoverWithout is I14: on copies.
func (h *history) recoverWithout() {
	image := h.mem.Clone()
	with := h.recovered(image.Clone(), &h.digests, false)
	for _, name := range digestsOf(image) {
		image.Remove(name)
	}
	none := 0
	without := h.recovered(image.Clone(), &none, false)
	careful := h.recovered(image, &none, true)
	if with != without || without != careful || none != 0 {
		h.fail("I14: by %d digests\n%s\nby surveys\n%s\nby careful scans\n%s", none, with, without, careful)
	}
}

func (h *history) recovered(image *fsx.Mem, digests *int, careful bool) string {
	o := h.options()
	o.setDefaults()
	o.hooks.carefulScan = careful
	q := newQueue(image, "/spool", o, true)
	if err := q.keys.read(); err != nil {
		h.fail("I14: %v", err)
	}
	found, err := q.readLog(os.O_RDONLY)
	if err != nil {
		h.fail("I14: %v", err)
	}
	*digests += found.digests
	q.rebuild()
	return dumpAll(q)
}

func digestsOf(image *fsx.Mem) (names []string) {
	infos, _ := image.ReadDir("/spool/seg")
	for _, info := range infos {
		if strings.HasSuffix(info.Name, digestSuffix) {
			names = append(names, "/spool/seg/"+info.Name)
		}
	}
	return names
}

// spoilDigests does to some what disks do.
func spoilDigests(image *fsx.Mem, r *rand.Rand) {
	for _, name := range digestsOf(image) {
		f, err := image.Open(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		size, _ := f.Size()
		switch n := r.IntN(4); {
		case n == 0 && size > 0:
			image.Flip(name, int64(r.IntN(int(size))), 1<<r.IntN(8))
		case n == 1:
			f.Truncate(size / 2)
		}
		f.Close()
	}
}

// dumpAll is all that recovery knows: also where, and what the segments' fate
// hangs on.
func dumpAll(q *Queue) string {
	var b strings.Builder
	b.WriteString(dump(q))
	q.mu.Lock()
	defer q.mu.Unlock()
	for e := q.first; e != nil; e = e.next {
		fmt.Fprintf(&b, "%s %v %d %d %d %d %v %v %v", e.id, e.at, e.recLen, e.copies, e.gen, e.size, e.big, e.dsn, e.low)
		for i := range e.rcpts {
			r := &e.rcpts[i]
			fmt.Fprintf(&b, " %s %d %v %v %v", r.dom.name, r.next, r.state, r.phase, r.marks)
		}
		b.WriteByte('\n')
	}
	for _, id := range slices.SortedFunc(maps.Keys(q.tombs), func(a, b mail.ID) int { return bytes.Compare(a[:], b[:]) }) {
		fmt.Fprintf(&b, "tomb %s %v\n", id, q.tombs[id])
	}
	for _, s := range q.sorted() {
		fmt.Fprintf(&b, "segment %d %x %d %d %d %d %d %v %v\n", s.number, s.epoch, s.used, s.live, s.liveBytes, s.states, s.tombs, s.copies, s.ids)
	}
	return b.String()
}

func dump(q *Queue) string {
	var b strings.Builder
	q.mu.Lock()
	defer q.mu.Unlock()
	for e := q.first; e != nil; e = e.next {
		fmt.Fprintf(&b, "%s %d", e.id, e.since)
		for i := range e.rcpts {
			r := &e.rcpts[i]
			fmt.Fprintf(&b, " %d/%d/%s/%s", r.status, r.attempts, q.reasons[r.hold], r.dom.to)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// check is I1: what is ours and not over is there, whole.
func (h *history) check() {
	q := h.q
	for _, mm := range h.order {
		q.mu.Lock()
		e := q.entries[mm.id]
		var s *stored
		var err error
		if e != nil {
			s, err = q.load(e)
		}
		q.mu.Unlock()
		if err != nil {
			h.fail("I1: %s cannot be read: %v", mm.id, err)
		}
		if e != nil {
			sum, err := h.sum(q.message(e, s), 0)
			if err != nil || sum != mm.sum {
				h.fail("I1: %s has other content after recovery: %v", mm.id, err)
			}
		}
		for i := range mm.rcpts {
			h.checkRcpt(mm, i, e)
		}
	}
	h.accounts()
	h.sealedWhole()
}

func (h *history) checkRcpt(mm *modelMessage, i int, e *entry) {
	r := &mm.rcpts[i]
	there := e != nil && e.rcpts[i].pending()
	switch {
	case mm.acked && !r.over && !there:
		h.fail("I1: %s to %s was acknowledged and is lost", mm.id, r.path)
	case r.over && r.durable && there:
		h.fail("I6: %s to %s was durably over and is back", mm.id, r.path)
	case r.over && there:
		r.over, r.failed = false, false // its end was lost in the crash
	case r.over:
		r.durable = true // what was recovered is on the disk
	}
}

// digest makes more digests than the janitor would.
func (h *history) digest() {
	for _, s := range h.q.sorted() {
		if h.r.IntN(3) > 0 && !s.digested {
			h.q.makeDigest(s)
		}
	}
}

func (h *history) key() (k Key) {
	le.PutUint64(k[:], h.r.Uint64())
	return k
}

// turnKeys does what the janitor does in a day, and an admin now and then.
func (h *history) turnKeys() {
	if h.keys == nil {
		return
	}
	q := h.q
	switch h.r.IntN(5) {
	case 4:
		n, err := q.Shred(context.Background())
		h.note("shred: %d keys destroyed, %v", n, err)
		if h.destroyed += n; err == nil {
			h.shredded()
		}
	case 0:
		h.note("epoch: %v", q.keys.begin(q))
	case 1:
		fresh := h.key()
		err := q.Rekey([]Key{fresh, h.keys[0]})
		h.note("rekey: %v", err)
		if h.keys = append([]Key{fresh}, h.keys...); err == nil {
			h.keys = h.keys[:1]
			h.changed()
		}
	default:
		for _, k := range q.keys.list() {
			if k != q.keys.now() && !q.moveOn(k, func() bool { return q.flush() == nil }) {
				return
			}
		}
		before := len(q.keys.list())
		q.destroyKeys(q.keys.now())
		h.destroyed += before - len(q.keys.list())
		h.note("moved on, %d keys left", len(q.keys.list()))
	}
}

// shredded is I16: of what is over no copy can be read, and nothing is in clear.
func (h *history) shredded() {
	q := h.q
	for _, s := range q.sorted() {
		s.walk(func(f *frame, off int64, b []byte) error {
			return eachRecord(b, off, func(r record, _ int64, _ uint32) error {
				if !r.isCopy() || q.entries[r.id] != nil || q.dying[r.id] != nil {
					return nil
				}
				if st, err := q.copyMeta(r); err == nil {
					h.fail("I16: %s is over and can be read, with the key of epoch %d", r.id, st.epoch)
				}
				return nil
			})
		})
	}
	h.silent("I16", "/spool/seg")
}

// changed is I15, on some of the disks that a power cut could leave behind.
func (h *history) changed() {
	r := rand.New(rand.NewPCG(h.seed, uint64(len(h.log))))
	for range 3 {
		o := Options{Keys: h.keys}
		o.setDefaults()
		q := newQueue(h.mem.CrashImage(r), "/spool", o, true)
		if err := q.keys.read(); err != nil {
			h.fail("I15: %v", err)
		}
	}
}

// canaries stand in every message of a history: in addresses, header sections
// and replies.
var canaries = []string{"d.example", "Subject: test", "a@example.com", "elsewhere:25", "later"}

// sealedWhole is I12: nothing that is in clear lies on the disk.
func (h *history) sealedWhole() {
	if h.keys == nil || h.plain {
		return
	}
	h.silent("I12", "/spool", "/spool/seg", "/spool/big", "/spool/keys", "/spool/corrupt")
}

func (h *history) silent(promise string, dirs ...string) {
	for _, dir := range dirs {
		infos, _ := h.mem.ReadDir(dir)
		for _, info := range infos {
			b, _ := readWhole(h.mem, dir+"/"+info.Name, int(info.Size))
			for _, c := range canaries {
				if bytes.Contains(b, []byte(c)) {
					h.fail("%s: %q lies in %s/%s", promise, c, dir, info.Name)
				}
			}
		}
	}
}

func (h *history) step() {
	time.Sleep(3 * time.Millisecond)
	switch n := h.r.IntN(100); {
	case n < 35:
		h.put()
	case n < 65:
		h.attempts(1 + h.r.IntN(6))
	case n < 73:
		h.sync()
	case n < 80:
		h.admin()
	case n < 86:
		h.note("compact")
		h.q.compact(int64(30+h.r.IntN(70)), func() bool { return h.q.flush() == nil })
	case n < 88:
		h.q.sweep()
	case n < 90:
		h.note("digest")
		h.digest()
		h.turnKeys()
	case n < 93:
		h.fault, h.errno = 1+h.r.IntN(20), []error{syscall.EIO, syscall.ENOSPC, fsx.ErrShort}[h.r.IntN(3)]
		h.note("fault armed: %v in %d", h.errno, h.fault)
	case n < 96:
		h.reboot(0)
	default:
		h.reboot(1)
	}
	synctest.Wait()
	if h.q.log.health() != nil && !h.stopped {
		h.stopped = true
		h.note("stopped: %v", h.q.Health())
		h.reboot(h.r.IntN(2))
	}
}

// drain lets everything through at the end: each acknowledged recipient must
// have been relayed, reported or deleted.
func (h *history) drain() {
	h.fault, h.errno = 0, nil
	h.reboot(0)
	for _, mm := range h.order {
		h.q.Release(mm.id)
	}
	for range 40 {
		h.attempts(len(h.order) * 3)
	}
	h.sync()
	h.q.compact(100, func() bool { return h.q.flush() == nil })
	h.check()
	for _, mm := range h.order {
		for i := range mm.rcpts {
			r := &mm.rcpts[i]
			if mm.acked && r.failed && r.relayed == 0 && !h.dsns[string(r.path)] && h.q.entries[mm.id] == nil {
				// The report may have been held or is deferred for ever.
				if !h.waitingDSN(r.path) {
					h.fail("a failure of %s was not reported", r.path)
				}
			}
		}
	}
	h.again += h.againNow()
	if h.again > 0 && !h.hooks.retrySync {
		h.fail("I4: %d uses of a descriptor after its sync failed", h.again)
	}
	if h.again > 0 {
		h.fail("I4: %d uses of a descriptor after its sync failed", h.again)
	}
	h.q.Close()
}

func (h *history) waitingDSN(p mail.Path) bool {
	for it := range h.q.List(Filter{}) {
		if it.ReversePath.IsNull() {
			var b bytes.Buffer
			h.q.Show(it.ID, 0, &b)
			if bytes.Contains(b.Bytes(), []byte(p)) {
				return true
			}
		}
	}
	return false
}

// runHistory returns what is wrong, "" when nothing is. Its time is not the
// machine's, or a seed would not repeat.
func runHistory(t *testing.T, seed uint64, steps int, hk hooks) (h *history, wrong string) {
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed)
		h, wrong = runSteps(seed, steps, hk)
	})
	return h, wrong
}

func runSteps(seed uint64, steps int, hk hooks) (h *history, wrong string) {
	h = &history{seed: seed, r: rand.New(rand.NewPCG(seed, 1)), mem: fsx.NewMem(), hooks: hk,
		msgs: map[mail.ID]*modelMessage{}, dsns: map[string]bool{}}
	defer func() {
		if p := recover(); p != nil {
			b, ok := p.(broken)
			if !ok {
				panic(p)
			}
			wrong = b.msg
			h.fault = 0
			h.q.Close()
		}
	}()
	switch seed % 4 {
	case 2:
		h.keys = []Key{h.key()}
	case 3:
		h.plain = true // keys come with some restart
	}
	h.mem.MkdirAll("/spool", 0o700)
	h.mem.SyncDir("/")
	h.open()
	for range steps {
		h.step()
	}
	h.drain()
	return h, ""
}

func TestModel(t *testing.T) {
	if *seedFlag != 0 {
		h, wrong := runHistory(t, *seedFlag, 150, hooks{})
		for _, n := range h.log {
			t.Log(n)
		}
		if wrong != "" {
			t.Fatal(wrong)
		}
		return
	}
	n, base := sized(t, 10_000, 1_000_000), uint64(1) // the same histories each time
	if mailtest.RaceDetector {
		n /= 25
	}
	if *many > 0 || *torture {
		n, base = cmp.Or(*many, n), uint64(time.Now().UnixNano())
	}
	if *baseFlag != 0 {
		runHistories(t, *baseFlag, *many)
		return
	}
	sum := shareHistories(t, base, n)
	t.Logf("%d histories: %d power cuts, %d faults, %d messages acknowledged, 0 lost; %d relayed, %d of them again; %d digests compared with their segments, %d keys destroyed",
		sum.Histories, sum.Crashes, sum.Faults, sum.Acked, sum.Relays, sum.Dups, sum.Digests, sum.Destroyed)
	if !t.Failed() && sum.Histories != n {
		t.Errorf("%d histories, want %d", sum.Histories, n)
	}
}

// totals is what histories came to.
type totals struct{ Histories, Crashes, Faults, Acked, Relays, Dups, Digests, Destroyed int }

const totalsPrefix = "totals "

// runHistories runs n histories one after the other: a seed only repeats when
// all randomness of the process is its own.
func runHistories(t *testing.T, base uint64, n int) {
	var sum totals
	last := time.Now()
	for i := range n {
		if time.Since(last) > time.Minute {
			last = time.Now()
			sum.print(t)
		}
		seed := base + uint64(i)
		h, wrong := runHistory(t, seed, 150, hooks{})
		if wrong != "" {
			t.Fatalf("seed %d: %s\nrepeat: go test ./queue -run TestModel$ -seed %d", seed, wrong, seed)
		}
		sum.Histories++
		sum.Crashes += h.crashes
		sum.Faults += h.faults
		sum.Acked += h.acked
		sum.Relays += h.relays
		sum.Dups += h.dups
		sum.Digests += h.digests
		sum.Destroyed += h.destroyed
	}
	sum.print(t)
}

// print tells the process that shares the work out how far this one is.
func (s totals) print(t *testing.T) {
	line, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(totalsPrefix + string(line))
}

// shareHistories lets as many processes run them as there are CPUs.
func shareHistories(t *testing.T, base uint64, n int) (sum totals) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	procs := min(runtime.NumCPU(), n)
	for k := range procs {
		from, to := uint64(n*k/procs), uint64(n*(k+1)/procs)
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestModel$", "-test.timeout=12h",
				fmt.Sprintf("-base=%d", base+from), fmt.Sprintf("-histories=%d", to-from))
			// A history is one thing after the other: threads that wait for
			// each other, and a small heap that is swept all the time, would
			// cost more than it does.
			cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=128MiB")
			part, out, err := followHistories(cmd, func(soFar totals) {
				if soFar.Histories < int(to-from) {
					t.Logf("process %d: %d of %d histories, %d messages acknowledged", k, soFar.Histories, to-from, soFar.Acked)
				}
			})
			mu.Lock()
			defer mu.Unlock()
			if sum = sum.plus(part); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	return sum
}

// followHistories runs a process, tells each of what it is at, and returns its
// last word, and what else it said.
func followHistories(cmd *exec.Cmd, each func(totals)) (last totals, other []byte, err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return last, nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return last, nil, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text, ok := bytes.CutPrefix(lines.Bytes(), []byte(totalsPrefix))
		if ok && json.Unmarshal(text, &last) == nil {
			each(last)
			continue
		}
		other = append(append(other, lines.Bytes()...), '\n')
	}
	return last, other, cmd.Wait()
}

func (s totals) plus(o totals) totals {
	return totals{s.Histories + o.Histories, s.Crashes + o.Crashes, s.Faults + o.Faults, s.Acked + o.Acked, s.Relays + o.Relays, s.Dups + o.Dups, s.Digests + o.Digests, s.Destroyed + o.Destroyed}
}

// TestModelFindsMutations: a harness that cannot fail proves nothing.
func TestModelFindsMutations(t *testing.T) {
	for name, hk := range map[string]hooks{
		"directory not synced":     {skipDirSync: true},
		"acknowledged before sync": {ackBeforeSync: true},
		"tombstone dropped":        {dropTombstone: true},
		"failed sync tried again":  {retrySync: true},
		"digest without the dead":  {lossyDigest: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3000) {
				if _, wrong := runHistory(t, seed+1, 150, hk); wrong != "" {
					t.Logf("found with seed %d: %.100s", seed+1, wrong)
					return
				}
			}
			t.Error("not found in 3000 histories")
		})
	}
}
