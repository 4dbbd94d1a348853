//go:build torture_mutant_retry_sync

package queue

func init() { mutate = func(h *hooks) { h.retrySync = true } }
