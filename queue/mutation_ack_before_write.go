//go:build torture_mutant_ack_before_write

package queue

func init() { mutate = func(h *hooks) { h.ackBeforeWrite = true } }
