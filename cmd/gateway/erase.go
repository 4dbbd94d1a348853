package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"mailweir/mail"
	"mailweir/queue"
)

// serveErase does what 'gateway privacy erase' wants of a running gateway: it
// forgets that an address was answered, ends messages for good that are held, with
// the DSNs that tell of them, and destroys the keys of all that is over. The log does not get
// the address.
func (g *gateway) serveErase(w http.ResponseWriter, r *http.Request) {
	var body actionRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var ids []mail.ID
	for _, s := range body.IDs {
		id, err := mail.ParseID(s)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ids = append(ids, id)
	}
	var reports []string
	for _, id := range g.queue.Reports(ids...) {
		reports = append(reports, id.String())
	}
	by, out := peerOf(r), newStream(w)
	held := &action{verb: "erase", by: by, do: func(id mail.ID) error { return g.queue.Erase(id, queue.Filter{State: queue.Held}) }}
	told := &action{verb: "erase", by: by, do: func(id mail.ID) error { return g.queue.Erase(id) }}
	answers := g.forgetAnswers(mail.Path(body.Address), by)
	if out.write(answers) != nil || !g.actOn(r.Context(), held, body.IDs, out) || !g.actOn(r.Context(), told, reports, out) {
		return
	}
	out.write(g.shred(r.Context(), by))
}

// serveSettle is before an export, which would miss what waits, and before an
// erasure, after which it would be written.
func (g *gateway) serveSettle(w http.ResponseWriter, r *http.Request) {
	if err := errors.Join(g.history.Sync(r.Context()), g.events.Sync(r.Context())); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// settle asks the running gateway for it; without one nothing waits.
func (c *control) settle() error {
	body, err := c.do(http.MethodPost, "/privacy/settle", nil)
	if errors.Is(err, errNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	return body.Close()
}

func (g *gateway) forgetAnswers(p mail.Path, by peer) actionResult {
	n, err := g.responder.ledger.Forget(p)
	result := actionResult{OK: err == nil, Answers: &n}
	if err != nil {
		result.Error = err.Error()
		g.log.Warn("privacy: that an address was answered could not be forgotten", "uid", by.UID, "pid", by.PID, "error", err)
	} else {
		g.log.Info("privacy: an address is erased", "answers", n, "uid", by.UID, "pid", by.PID)
	}
	return result
}

func (g *gateway) shred(ctx context.Context, by peer) actionResult {
	n, err := g.queue.Shred(ctx)
	result := actionResult{OK: err == nil, Keys: &n}
	if err != nil {
		result.Error = err.Error()
		g.log.Warn("queue: not all that is over was made unreadable", "keys", n, "uid", by.UID, "pid", by.PID, "error", err)
	} else {
		g.log.Info("queue: made unreadable what is over", "keys", n, "uid", by.UID, "pid", by.PID)
	}
	return result
}

// erasure is what became of one.
type erasure struct {
	messages, answers int
	stays             []string // what is not as it should be
}

// erase asks the running gateway for it.
func (c *control) erase(address string, ids []string) (e erasure, err error) {
	ended := false
	err = c.act("erase", actionRequest{IDs: ids, Address: address}, func(r actionResult) error {
		switch {
		case r.Answers != nil && !r.OK:
			e.stays = append(e.stays, fmt.Sprintf("that it was answered, hashed: %s", r.Error))
		case r.Answers != nil:
			e.answers = *r.Answers
		case r.Keys != nil && !r.OK && r.Error == queue.ErrPlain.Error():
			e.stays = append(e.stays, "the text of messages that are over, in the spool: without queue.encryption_key until its segments are used again, with it until the clear text from before is over")
		case r.Keys != nil && !r.OK:
			e.stays = append(e.stays, fmt.Sprintf("the text of messages that are over, for a day at most: %s", r.Error))
		case r.OK && r.Keys == nil:
			e.messages++
		case r.Changed:
			e.stays = append(e.stays, fmt.Sprintf("message %s, which is on its way since a moment ago", r.ID))
		case !r.OK && !r.Gone:
			e.stays = append(e.stays, fmt.Sprintf("message %s: %s", r.ID, r.Error))
		}
		ended = ended || r.Keys != nil
		return nil
	})
	if err == nil && !ended {
		err = errors.New("the gateway stopped before all was erased: do it again")
	}
	return e, err
}
