package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter/effect"
	"mailweir/internal/config"
	"mailweir/internal/fsx"
	"mailweir/mail"
)

// responder sends the answers that rules want (RFC 3834), after the message that
// they answer is stored and away from its session. Who was answered is durable
// before the answer is: after a crash a sender may get none, never two.
type responder struct {
	g       *gateway
	host    string
	ledger  *effect.Ledger
	due     chan dueReply
	replies *prometheus.CounterVec
}

type dueReply struct {
	message mail.ID
	reply   *effect.Reply
}

// answerRecord is what the history keeps of an answer, with the message that it
// is one to.
type answerRecord struct {
	Rule   string `json:"rule"`
	To     string `json:"to"`
	Sent   string `json:"sent,omitempty"`   // its ID
	Result string `json:"result,omitempty"` // why it was not sent
}

// respondQueue is how many answers can wait; what comes beyond is not sent.
const respondQueue = 1000

func ledgerFile(cfg *config.Config) string { return filepath.Join(string(cfg.DataDir), "answered") }

// startResponder begins after the queue and ends before it.
func (g *gateway) startResponder(ctx context.Context) error {
	ledger, err := effect.OpenLedger(fsx.OS{}, ledgerFile(g.cfg), time.Now())
	if err != nil {
		return err
	}
	r := &responder{g: g, host: string(g.cfg.Hostname), ledger: ledger, due: make(chan dueReply, respondQueue), replies: g.m.replies}
	g.responder = r
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	g.background("responder", func() error {
		defer close(done)
		r.run(ctx)
		return nil
	})
	g.onStop("responder", func(context.Context) error {
		cancel()
		<-done
		return ledger.Close()
	})
	return nil
}

// Respond implements smtpd.Responder.
func (r *responder) Respond(message mail.ID, reply *effect.Reply) {
	select {
	case r.due <- dueReply{message, reply}:
	default:
		r.replies.WithLabelValues("dropped").Inc()
		r.g.log.Warn("an answer was not sent: too many at once", "id", message.String(), "rule", reply.Rule)
	}
}

// run answers until ctx ends, and then what is still waiting.
func (r *responder) run(ctx context.Context) {
	for {
		select {
		case d := <-r.due:
			r.answer(d)
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case d := <-r.due:
				r.answer(d)
			default:
				return
			}
		}
	}
}

func (r *responder) answer(d dueReply) {
	now := time.Now()
	record := answerRecord{Rule: d.reply.Rule, To: string(d.reply.To)}
	mine, err := r.ledger.Claim(d.reply, now)
	switch {
	case err != nil:
		record.Result = "failed"
	case !mine:
		record.Result = effect.AnsweredLately
	default:
		env, head, body := d.reply.Message(r.host, now)
		head = append(r.g.signOwn(head, body), head...)
		if err = r.g.queue.Generate(env, head, body); err != nil {
			record.Result = "failed"
		} else {
			record.Sent = env.ID.String()
		}
	}
	result := record.Result
	if result == "" {
		result = "sent"
	}
	r.replies.WithLabelValues(result).Inc()
	attrs := []any{"id", d.message.String(), "rule", record.Rule, "result", result}
	if record.Sent != "" {
		attrs = append(attrs, "sent", record.Sent)
	}
	if err != nil {
		r.g.log.Error("an answer was not sent", append(attrs, "error", err)...)
	} else {
		r.g.log.Info("answer", attrs...)
	}
	r.g.history.Append(d.message, "answer", now, record)
}

// newReplyMetrics counts answers; the results are a closed set.
func newReplyMetrics(reg prometheus.Registerer) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mailweir_autoreply_total",
		Help: "Automatic answers by result: sent, answered_lately, failed, or dropped since too many were due at once.",
	}, []string{"result"})
	for _, result := range []string{"sent", effect.AnsweredLately, "failed", "dropped"} {
		v.WithLabelValues(result)
	}
	reg.MustRegister(v)
	return v
}

func marksFile(cfg *config.Config) string { return filepath.Join(string(cfg.DataDir), "sent-on.key") }

// makeMarks makes the key that marks what rules send on, where there is none.
func makeMarks(cfg *config.Config) error {
	_, err := fsx.Content(fsx.OS{}, marksFile(cfg))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return fsx.Replace(fsx.OS{}, marksFile(cfg), key)
}

// loadMarks reads the key; without one, before the first start, nothing can have
// been sent on.
func loadMarks(cfg *config.Config) (effect.Marks, error) {
	key, err := fsx.Content(fsx.OS{}, marksFile(cfg))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return effect.Marks{}, err
	}
	return effect.NewMarks(key), nil
}
