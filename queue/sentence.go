package queue

import (
	"fmt"
	"strings"
	"time"
)

// sentence says what a Wait says.
func (w *Wait) sentence(now time.Time) string {
	switch w.Limit {
	case LimitHeld:
		return w.held(now)
	case LimitActive:
		return "it is being relayed to " + w.where() + " this moment"
	case LimitRate:
		return fmt.Sprintf("it is in no hurry, and %d a minute of its class are sent: ", w.Rate) + w.scheduled(now)
	case LimitSchedule:
		return w.scheduled(now)
	case LimitProbe:
		return w.probed(now)
	case LimitConcurrency:
		return fmt.Sprintf("it is due, but %s gets %s at a time at present, and %d with their turn before it",
			w.where(), count(w.Concurrency, "message"), w.Ahead)
	case LimitWorkers:
		return fmt.Sprintf("it is due and gets its turn at %s as soon as a worker is free, %s before it", w.where(), count(w.Ahead, "message"))
	}
	text := "deliveries are stopped: the gateway does not run, or its disk failed"
	if w.NextAttempt != nil {
		text += "; " + w.scheduled(now)
	}
	return text
}

func (w *Wait) where() string {
	if w.Rerouted {
		return string(w.Destination) + " (rerouted by an admin or a rule)"
	}
	return string(w.Destination)
}

// held: why, what would help, and until when.
func (w *Wait) held(now time.Time) string {
	symbol, quarantined := strings.CutPrefix(w.Hold, "quarantine:")
	taken, stripped := strings.CutPrefix(w.Hold, "strip:")
	var why string
	switch {
	case stripped:
		why = "it is the original of a message that was relayed without an attachment, because of " + taken
	case quarantined:
		why = "it is in quarantine because of " + symbol
	case w.Hold == "mixed":
		why = "it is held: this recipient's policy refuses what the policy of other recipients took"
	case w.Hold == undeliverable && w.Reply == "":
		why = "it is held: there is no route to its recipient"
	case w.Hold == undeliverable:
		why = "it is held: it failed (" + w.Reply + "), and its sender is not proven, so no DSN may go there"
	case w.Hold == heldByAdmin:
		why = "it is held by an admin"
	case w.Hold == heldAfterCrash:
		why = "it is held: the process crashed each time that it was handled, " + count(maxCrashes, "time") + " in a row"
	case w.Hold == heldDamaged:
		why = "it is held: a part of it could not be read back from the spool as it was written"
	default:
		why = "it is held: " + w.Hold
	}
	return why + "; `queue release` relays it, and without that it is deleted at " + at(*w.Until, now)
}

// scheduled: the next attempt, the last reply, and when it ends.
func (w *Wait) scheduled(now time.Time) string {
	text := fmt.Sprintf("attempt %d is made at %s", w.Attempts+1, at(*w.NextAttempt, now))
	if w.Rerouted {
		text += " by way of " + w.where()
	}
	return text + w.last() + "; it is tried until " + at(*w.Until, now)
}

// last is what the last attempt met.
func (w *Wait) last() string {
	switch {
	case w.Attempts == 0:
		return ""
	case w.Reply == "":
		return "; the last attempt ended without a reply"
	case w.NextHop == "":
		return "; the last one ended with: " + w.Reply
	}
	return "; the last one ended with: " + w.Reply + " (" + w.NextHop + ")"
}

// probed: the destination is dead.
func (w *Wait) probed(now time.Time) string {
	text := fmt.Sprintf("%s could not be reached %s in a row (%s), so one probe at a time goes there",
		w.where(), count(w.Fails, "time"), w.Fault)
	if w.Probe != nil {
		text += ", the next at " + at(*w.Probe, now)
	} else {
		text += ", and one is under way"
	}
	if w.Ahead > 0 {
		text += fmt.Sprintf(", %s before it", count(w.Ahead, "message"))
	}
	return text + "; when one succeeds this message follows at once"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// at is a moment, and how far it is.
func at(t, now time.Time) string {
	text := t.UTC().Format(time.DateTime) + " UTC"
	d := t.Sub(now)
	switch {
	case d <= 0:
		return text + " (now)"
	case d < time.Minute:
		return fmt.Sprintf("%s (in %.0f s)", text, d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%s (in %.0f min)", text, d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%s (in %.0f h)", text, d.Hours())
	}
	return fmt.Sprintf("%s (in %.0f days)", text, d.Hours()/24)
}
