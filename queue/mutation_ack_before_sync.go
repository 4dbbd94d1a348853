//go:build torture_mutant_ack_before_sync

package queue

func init() { mutate = func(h *hooks) { h.ackBeforeSync = true } }
