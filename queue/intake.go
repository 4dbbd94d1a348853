package queue

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"os"
	"sync"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// Intake is one message on its way in. Exactly one of Commit and Abort ends
// it; its buffer is used for another message then.
type Intake struct {
	q        *Queue
	reserved int64 // of the free space

	mu   sync.Mutex // between Write and ReadAt
	buf  []byte     // all, or the first octets of a large message
	size int64
	file fsx.File    // of a large message
	seal *sealedFile // the same, when it is sealed
	name string
	sum  uint32 // of all that was written, once there is a file
	err  error  // sticky, of the file
	done bool
	own  bool // generated, not accepted
}

// Begin makes room for one message. sizeHint is the size that the client
// declared, 0 when it did not. It fails with ErrNoSpace while the disk is
// nearly full, with ErrPoisoned when it failed.
func (q *Queue) Begin(ctx context.Context, sizeHint int64) (*Intake, error) {
	if err := q.log.health(); err != nil {
		if errors.Is(err, ErrPoisoned) {
			q.o.Metrics.refusedPoisoned.Inc()
		} else {
			q.o.Metrics.refusedSpace.Inc()
		}
		return nil, err
	}
	hint := max(sizeHint, 0)
	if err := q.space.reserve(q, hint); err != nil {
		q.o.Metrics.refusedSpace.Inc()
		return nil, err
	}
	return &Intake{q: q, reserved: hint}, nil
}

// Write takes the next octets of the message. An error is sticky.
func (i *Intake) Write(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done {
		return 0, ErrClosed
	}
	if i.err != nil {
		return 0, i.err
	}
	if i.file == nil && i.size+int64(len(p)) > i.q.o.SpillAt {
		i.err = i.spill()
	}
	if i.err == nil && i.file != nil {
		i.err = i.writeFile(p)
	} else if i.err == nil {
		i.buf = appendPooled(i.buf, p)
	}
	if i.err != nil {
		return 0, i.err
	}
	i.size += int64(len(p))
	if more := i.size - i.reserved; more > 0 {
		i.q.space.add(more)
		i.reserved = i.size
	}
	return len(p), nil
}

// spill moves the message to a file. The octets in memory stay there as well:
// the end of the header section is among them.
func (i *Intake) spill() error {
	i.name = fmt.Sprintf("%s/tmp-%016x", i.q.bigDir(), newEpoch())
	f, err := i.q.fs.Open(i.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	i.file = f
	if i.q.keys.on() {
		i.seal = newSealedFile(f)
		if err := i.seal.write(i.buf); err != nil {
			return fmt.Errorf("%w: %w", ErrNotDurable, err)
		}
		return nil
	}
	if _, err := f.WriteAt(i.buf, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	i.sum = crc32.Update(0, castagnoli, i.buf)
	return nil
}

func (i *Intake) writeFile(p []byte) error {
	if i.seal != nil {
		if err := i.seal.write(p); err != nil {
			return fmt.Errorf("%w: %w", ErrNotDurable, err)
		}
		return nil
	}
	if _, err := i.file.WriteAt(p, i.size); err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	i.sum = crc32.Update(i.sum, castagnoli, p)
	return nil
}

// ReadAt reads what was written so far. It may run beside Write.
func (i *Intake) ReadAt(p []byte, off int64) (int, error) {
	i.mu.Lock()
	if i.done || off < 0 {
		i.mu.Unlock()
		return 0, ErrClosed
	}
	if i.file == nil || off+int64(len(p)) <= int64(len(i.buf)) {
		defer i.mu.Unlock()
		if off >= int64(len(i.buf)) {
			return 0, io.EOF
		}
		n := copy(p, i.buf[off:])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	f, size := i.file, i.size
	if off >= size {
		i.mu.Unlock()
		return 0, io.EOF
	}
	if i.seal != nil {
		defer i.mu.Unlock() // the chunk that is not full yet lies in memory
		return i.seal.readAt(p, off, size, i.seal.tail)
	}
	i.mu.Unlock()
	n, err := f.ReadAt(p[:min(int64(len(p)), size-off)], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Content is all that was written; valid until Commit or Abort.
func (i *Intake) Content() mail.Content {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.file == nil {
		return mail.Bytes(i.buf[:len(i.buf):len(i.buf)])
	}
	return intakeContent{i}
}

// intakeContent is the content of a large message. It is comparable: Commit
// recognizes it.
type intakeContent struct{ i *Intake }

func (c intakeContent) Size() int64 { return c.i.size }

func (c intakeContent) Open() (io.ReadCloser, error) {
	return sectionCloser{io.NewSectionReader(c.i, 0, c.i.size)}, nil
}

type sectionCloser struct{ *io.SectionReader }

func (sectionCloser) Close() error { return nil }

// Commit makes m durable and hands it to the queue: when it returns nil the
// message is ours. ErrNotDurable, ErrNoSpace, ErrPoisoned and ErrClosed mean
// that it is not; after ErrSlow, or the end of ctx, nobody knows (RFC 1047).
func (i *Intake) Commit(ctx context.Context, m *mail.Message) error {
	start := time.Now()
	defer i.end()
	if err := checkMessage(m); err != nil {
		return err
	}
	big, inline, err := i.body(m)
	if err != nil {
		i.q.o.Metrics.refusedNotDurable.Inc()
		return err
	}
	b, err := i.q.submit(m, big, inline, i.own)
	if err != nil || i.q.o.hooks.ackBeforeWrite {
		return err
	}
	if err := i.q.settled(ctx, b); err != nil {
		return err
	}
	if b.err != nil {
		i.q.o.Metrics.refusedNotDurable.Inc()
		return b.err
	}
	i.q.o.Metrics.commit.Observe(time.Since(start).Seconds())
	return nil
}

// commitTimeout bounds the wait for the disk. A client waits ten minutes for
// the reply (RFC 5321 section 4.5.3.2.6); a disk that takes two is broken.
const commitTimeout = 2 * time.Minute

// settled waits until b is, and tells why it gave up before. Its timer serves
// other messages after this one: a context with a deadline for each costs as much
// as to append its record.
func (q *Queue) settled(ctx context.Context, b *batch) error {
	t, ok := q.timers.Get().(*time.Timer)
	if ok {
		t.Reset(commitTimeout)
	} else {
		t = time.NewTimer(commitTimeout)
	}
	defer func() {
		t.Stop()
		q.timers.Put(t)
	}()
	select {
	case <-b.done:
		return nil
	case <-t.C:
		return ErrSlow
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Generate makes a message of our own durable that is no DSN. Its errors are
// those of Begin and Commit. The accounts have it as generated.
func (q *Queue) Generate(env *mail.Envelope, head, body []byte) error {
	i, err := q.Begin(context.Background(), int64(len(head)+len(body)))
	if err != nil {
		return err
	}
	if _, err := i.Write(body); err != nil {
		i.Abort()
		return err
	}
	i.own = true
	return i.Commit(context.Background(), &mail.Message{Envelope: *env, Heads: [][]byte{head}, Body: i.Content()})
}

// checkMessage refuses what the format cannot hold; the caller's fault.
func checkMessage(m *mail.Message) error {
	if len(m.Envelope.Recipients) == 0 || m.Envelope.ID.IsZero() {
		return errors.New("queue: message without recipients or ID")
	}
	n := 0
	for _, h := range m.Heads {
		n += len(h)
	}
	if n > MaxHeads {
		return ErrTooLarge
	}
	for _, r := range m.Envelope.Recipients {
		if r.Head < 0 || r.Head >= len(m.Heads) {
			return errors.New("queue: recipient without a header section")
		}
	}
	return nil
}

// body tells how the body of m is stored: in line, or in a file that is
// durable already.
func (i *Intake) body(m *mail.Message) (*bigRef, []byte, error) {
	if i.err != nil {
		return nil, nil, i.err
	}
	if b, ok := m.Body.(mail.Bytes); ok && i.file == nil {
		return nil, b, nil
	}
	whole, offset := mail.Whole(m.Body)
	if whole != (mail.Content)(intakeContent{i}) {
		return nil, nil, errors.New("queue: the body is not of this intake")
	}
	ref := bigRef{size: i.size - offset, offset: offset}
	if i.seal != nil {
		ref.key = i.seal.key
	} else {
		prefix, err := i.prefixSum(offset)
		if err != nil {
			return nil, nil, err
		}
		ref.sum = dropPrefix(i.sum, prefix, ref.size)
	}
	i.mu.Lock()
	f, sealed := i.file, i.seal
	i.file, i.done = nil, true
	i.mu.Unlock()
	if err := i.q.durableBig(f, sealed, i.name, m.Envelope.ID, ref); err != nil {
		return nil, nil, err
	}
	return &ref, nil, nil
}

// prefixSum is the checksum of the first n octets.
func (i *Intake) prefixSum(n int64) (uint32, error) {
	if n <= int64(len(i.buf)) {
		return crc32.Checksum(i.buf[:n], castagnoli), nil
	}
	h := crc32.New(castagnoli)
	_, err := io.Copy(h, io.NewSectionReader(i, 0, n))
	return h.Sum32(), err
}

// submit appends the ACCEPT record to the batch that is being filled: the one
// copy of the message on its way to the disk.
func (q *Queue) submit(m *mail.Message, big *bigRef, inline []byte, own bool) (*batch, error) {
	body := int64(len(inline))
	if big != nil {
		body = big.size
	}
	env := &m.Envelope
	now := q.nowMilli()
	size := int64(len(m.Heads[0])) + body
	q.mu.Lock()
	e := q.newEntry(env.ID, env, size, now)
	e.big = big != nil
	twice := q.entries[env.ID] != nil
	o := outgoing{
		kind: recAccept, id: env.ID, env: env, since: now, heads: m.Heads, big: big, body: inline,
		size: size, codecs: q.o.codec(), recent: true,
	}
	if big != nil {
		o.key = big.key
	}
	q.sealWith(&o, e)
	e.key = o.number()
	q.mu.Unlock()
	if twice {
		e.big = false // the file is the other's
		q.abandon(e)
		return nil, errors.New("queue: a message of this ID is in the queue")
	}
	o.prepare()
	l := q.log
	l.mu.Lock()
	err := l.usable()
	if l.closing && err == nil {
		err = ErrClosed
	}
	if err != nil {
		l.mu.Unlock()
		o.clear.release()
		q.abandon(e)
		return nil, err
	}
	b := l.room(o.bound())
	b.add(o.append(b.tail()), fixup{
		op: fixAccept, e: e, own: own, clear: o.clear, plain: o.epoch == nil, generated: ownRecipients(env.Recipients, own),
	})
	l.mu.Unlock()
	l.signal()
	return b, nil
}

// ownRecipients counts the recipients that no client named: all of a message of our
// own.
func ownRecipients(rcpts []mail.Recipient, own bool) (n int) {
	for i := range rcpts {
		if own || rcpts[i].Generated {
			n++
		}
	}
	return n
}

// abandon undoes newEntry for a message that did not become ours.
func (q *Queue) abandon(e *entry) {
	q.mu.Lock()
	q.unseal(e.key)
	for i := range e.rcpts {
		q.releaseDomain(e.rcpts[i].dom)
	}
	q.mu.Unlock()
	if e.big {
		q.logRemove(q.fs.Remove(q.bigName(e.id)), q.bigName(e.id))
	}
}

// Abort ends the intake without a message.
func (i *Intake) Abort() { i.end() }

func (i *Intake) end() {
	i.mu.Lock()
	i.done = true
	f := i.file
	i.file = nil
	putPooled(i.buf)
	i.buf = nil
	i.mu.Unlock()
	i.q.space.end(i.reserved, min(i.size, i.reserved))
	i.reserved = 0
	if f != nil {
		if i.seal != nil {
			putPooled(i.seal.tail)
		}
		f.Close()
		i.q.logRemove(i.q.fs.Remove(i.name), i.name)
	}
}

// Buffers come in powers of two, so that a session of small messages does not
// hold a large one.
const minBuffer = 13 // 8 KiB

var buffers [12]sync.Pool

// headers are those that slices in buffers had: to put one back takes no
// allocation then.
var headers sync.Pool

func appendPooled(buf, p []byte) []byte {
	need := len(buf) + len(p)
	if need <= cap(buf) {
		return append(buf, p...)
	}
	bigger := append(pooled(need)[:0], buf...)
	putPooled(buf)
	return append(bigger, p...)
}

// pooled is n octets, whatever they were before.
func pooled(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), minBuffer) - minBuffer
	if class >= len(buffers) {
		return make([]byte, n)
	}
	if h, ok := buffers[class].Get().(*[]byte); ok {
		b := (*h)[:n]
		*h = nil
		headers.Put(h)
		return b
	}
	return make([]byte, n, 1<<(class+minBuffer))
}

func putPooled(buf []byte) {
	if c := cap(buf); c >= 1<<minBuffer && c&(c-1) == 0 {
		if class := bits.Len(uint(c)) - 1 - minBuffer; class < len(buffers) {
			h, ok := headers.Get().(*[]byte)
			if !ok {
				h = new([]byte)
			}
			*h = buf
			buffers[class].Put(h)
		}
	}
}
