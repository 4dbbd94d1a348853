//go:build torture_mutant_skip_dir_sync

package queue

func init() { mutate = func(h *hooks) { h.skipDirSync = true } }
