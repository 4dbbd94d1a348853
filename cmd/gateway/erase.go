package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"mailweir/mail"
	"mailweir/queue"
)

// serveErase ends messages for good, with the DSNs that tell of them, and
// destroys the keys of all that is over, as 'gateway privacy erase' promises.
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
	for _, id := range g.queue.Reports(ids...) {
		body.IDs = append(body.IDs, id.String())
	}
	a := &action{verb: "erase", by: peerOf(r), do: g.queue.Erase}
	out := newStream(w)
	if !g.actOn(r.Context(), a, body.IDs, out) {
		return
	}
	n, err := g.queue.Shred(r.Context())
	result := actionResult{OK: err == nil, Keys: &n}
	if err != nil {
		result.Error = err.Error()
		g.log.Warn("queue: not all that is over was made unreadable", "keys", n, "uid", a.by.UID, "pid", a.by.PID, "error", err)
	} else {
		g.log.Info("queue: made unreadable what is over", "keys", n, "uid", a.by.UID, "pid", a.by.PID)
	}
	out.write(result)
}

// erase asks the running gateway for it. It returns how many messages are gone,
// and what is not as it should be.
func (c *control) erase(ids []string) (erased int, stays []string, err error) {
	ended := false
	err = c.act("erase", actionRequest{IDs: ids}, func(r actionResult) error {
		switch {
		case r.Keys != nil && !r.OK && r.Error == queue.ErrPlain.Error():
			stays = append(stays, "the text of messages that are over, in the spool: without queue.encryption_key until its segments are used again, with it until the clear text from before is over")
		case r.Keys != nil && !r.OK:
			stays = append(stays, fmt.Sprintf("the text of messages that are over, for a day at most: %s", r.Error))
		case r.OK && r.Keys == nil:
			erased++
		case !r.OK && !r.Gone:
			stays = append(stays, fmt.Sprintf("message %s: %s", r.ID, r.Error))
		}
		ended = ended || r.Keys != nil
		return nil
	})
	if err == nil && !ended {
		err = errors.New("the gateway stopped before all was erased: do it again")
	}
	return erased, stays, err
}
