package torture

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// book compares what was acknowledged with what came out. Messages go by a
// token of the client's; the sum is of the body.
type book struct {
	mu     sync.Mutex
	acked  map[string]string // token: sum
	ids    map[string]string // token: queue ID
	taken  map[string]int    // token: how often
	sums   map[string]string // token: sum of what was taken
	lives  int               // crashes so far
	life   map[string]int    // token: in which life it was taken last
	again  map[int]int       // life: how many of those taken in it were taken once more later
	wrong  []string
	refuse map[string]int // replies that were not 250, by their first words
}

func newBook() *book {
	return &book{acked: map[string]string{}, ids: map[string]string{}, taken: map[string]int{}, sums: map[string]string{}, life: map[string]int{}, again: map[int]int{}, refuse: map[string]int{}}
}

func (b *book) ack(token, sum, id string) {
	b.mu.Lock()
	b.acked[token], b.ids[token] = sum, id
	b.mu.Unlock()
}

func (b *book) refused(reply string) {
	b.mu.Lock()
	b.refuse[reply[:min(len(reply), 9)]]++
	b.mu.Unlock()
}

func (b *book) refusals(prefix string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for reply, count := range b.refuse {
		if strings.HasPrefix(reply, prefix) {
			n += count
		}
	}
	return n
}

// take notes one message that the next hop has.
func (b *book) take(data []byte) {
	head, body, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	_, rest, found := bytes.Cut(head, []byte("\r\nMessage-ID: <"))
	token, _, found2 := bytes.Cut(rest, []byte("@client.test>"))
	b.mu.Lock()
	defer b.mu.Unlock()
	if !found || !found2 || !bytes.HasPrefix(token, []byte(ours+"-")) {
		b.wrong = append(b.wrong, fmt.Sprintf("a message that nobody sent: %.200q", data))
		return
	}
	sum := sumOf(body)
	if b.taken[string(token)]++; b.taken[string(token)] > 1 {
		b.again[b.life[string(token)]]++
		if b.sums[string(token)] != sum {
			b.wrong = append(b.wrong, fmt.Sprintf("%s differs from its first copy", token))
		}
	}
	b.sums[string(token)], b.life[string(token)] = sum, b.lives
}

// crashed notes that all that was taken so far was taken before a crash.
func (b *book) crashed() {
	b.mu.Lock()
	b.lives++
	b.mu.Unlock()
}

// repeated is how many messages were taken once more because of one crash, at
// most: the one that their last time was followed by. The next hop may have been
// away after it, so that they come after later ones.
func (b *book) repeated() (most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.again {
		most = max(most, n)
	}
	return most
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.acked)
}

// missing are the tokens that were acknowledged and not taken.
func (b *book) missing() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for token := range b.acked {
		if b.taken[token] == 0 {
			list = append(list, token)
		}
	}
	return list
}

// faults are what must never be: altered, or not taken at all.
func (b *book) faults() []string {
	list := b.missing()
	for i, token := range list {
		list[i] = "lost: " + token + ", acknowledged as " + b.ids[token]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for token, sum := range b.acked {
		if b.taken[token] > 0 && b.sums[token] != sum {
			list = append(list, "altered: "+token)
		}
	}
	return append(list, b.wrong...)
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// nextHop takes all mail and can be away.
type nextHop struct {
	t       testing.TB
	address string
	book    *book
	busy    atomic.Bool // it defers all mail
	sink    *mailtest.Sink
	read    int // messages of the sink that are in the book
}

func newNextHop(t testing.TB, b *book) *nextHop {
	h := &nextHop{t: t, address: freeAddress(t), book: b}
	h.up()
	t.Cleanup(h.down)
	return h
}

func (h *nextHop) up() {
	if h.sink != nil {
		return
	}
	var err error
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if h.sink, err = mailtest.StartSink(mailtest.SinkOptions{Address: h.address, On: h.on}); err == nil {
			break
		}
		if time.Since(begin) > patience { // others may have had the port for a moment
			h.t.Fatal(err)
		}
	}
	h.read = 0
}

func (h *nextHop) on(e mailtest.Event) mailtest.Step {
	if h.busy.Load() && e.Verb == "MAIL" {
		return mailtest.Step{Reply: "451 4.3.2 Later"}
	}
	return mailtest.Step{}
}

// down closes it and books what it had.
func (h *nextHop) down() {
	if h.sink == nil {
		return
	}
	h.sink.Close()
	h.enter()
	h.sink = nil
}

// enter books what came until now.
func (h *nextHop) enter() {
	messages := h.sink.Messages()
	for ; h.read < len(messages); h.read++ {
		h.book.take(messages[h.read].Data)
	}
}

// load is what clients send, as fast as they can.
type load struct {
	book     *book
	address  string
	sessions int
	sizes    func(r *rand.Rand) int
}

var serial atomic.Int64

// ours begins the names of this harness's messages.
var ours = fmt.Sprintf("t%08x", rand.Uint32())

// mixed is ordinary mail: a few kilobytes, now and then a large attachment.
func mixed(r *rand.Rand) int {
	if r.IntN(40) == 0 {
		return 300<<10 + r.IntN(200<<10)
	}
	return 500 + r.IntN(8000)
}

// run sends until ctx ends; it returns when the last session has.
func (l *load) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range l.sessions {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), 1))
			for ctx.Err() == nil {
				l.session(ctx, r)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	wg.Wait()
}

func (l *load) session(ctx context.Context, r *rand.Rand) {
	c, err := dial(l.address)
	if err != nil {
		return
	}
	defer c.nc.Close()
	defer context.AfterFunc(ctx, func() { c.nc.Close() })()
	for ctx.Err() == nil {
		if _, err := c.send(l.book, l.sizes(r)); err != nil {
			return
		}
	}
}

// client is one SMTP session.
type client struct {
	nc net.Conn
	r  *bufio.Reader
	b  []byte
}

func dial(address string) (*client, error) {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(2 * patience))
	c := &client{nc: nc, r: bufio.NewReader(nc)}
	if _, err = c.reply(); err == nil {
		_, err = c.command("EHLO client.test\r\n")
	}
	if err != nil {
		nc.Close()
	}
	return c, err
}

// reply reads one reply and returns its last line.
func (c *client) reply() (string, error) {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(line) > 3 && line[3] != '-' {
			return strings.TrimRight(line, "\r\n"), nil
		}
	}
}

func (c *client) command(text string) (string, error) {
	if _, err := io.WriteString(c.nc, text); err != nil {
		return "", err
	}
	return c.reply()
}

// filler is text that no check minds.
const fillerLine = "The minutes of the last meeting are attached to this message below.\r\n"

var filler = bytes.Repeat([]byte(fillerLine), 200<<10) // 14 MB

// send brings one message. The book has it when, and only when, its 250 was
// read. The error is of the connection; a refusal is none.
func (c *client) send(b *book, size int) (accepted bool, err error) {
	mail, err := c.command("MAIL FROM:<a@client.test>\r\n")
	if err != nil {
		return false, err
	}
	if mail[0] != '2' {
		b.refused(mail)
		return false, nil
	}
	token := fmt.Sprintf("%s-%d", ours, serial.Add(1))
	c.b = append(c.b[:0], "From: <a@client.test>\r\nTo: <b@example.org>\r\nDate: Sun, 22 Nov 2026 00:00:00 +0000\r\nSubject: Minutes\r\nMessage-ID: <"...)
	c.b = append(c.b, token+"@client.test>\r\n\r\n"...)
	start := len(c.b)
	c.b = append(append(c.b, token+"\r\n"...), filler[:size/len(fillerLine)*len(fillerLine)]...)
	sum := sumOf(c.b[start:])
	c.b = append(c.b, ".\r\n"...)
	for _, step := range []string{"RCPT TO:<b@example.org>\r\n", "DATA\r\n"} {
		reply, err := c.command(step)
		if err != nil {
			return false, err
		}
		if reply[0] != '2' && reply[0] != '3' {
			b.refused(reply)
			_, err = c.command("RSET\r\n")
			return false, err
		}
	}
	reply, err := c.command(string(c.b))
	if err != nil {
		return false, err
	}
	if reply[0] != '2' {
		b.refused(reply)
		return false, nil
	}
	b.ack(token, sum, reply[strings.LastIndexByte(reply, ' ')+1:])
	return true, nil
}
