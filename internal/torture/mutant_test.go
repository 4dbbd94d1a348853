package torture

import (
	"fmt"
	"testing"
)

// TestMutants runs the harnesses against gateways that are broken on purpose:
// a harness that cannot fail proves nothing. (The mutation that needs weeks of
// compaction, a dropped tombstone, is found by queue's TestModelFindsMutations.)
func TestMutants(t *testing.T) {
	for _, c := range []struct {
		mutant, harness string
		find            func(t *testing.T, mutant string) []string
	}{
		{"ack_before_write", "kill -9", func(t *testing.T, m string) []string { return killed(t, m, 1) }},
		{"ack_before_write", "kill at a call", func(t *testing.T, m string) []string { return killedAtCalls(t, m, []string{"pwrite64"}, 8) }},
		{"ack_before_sync", "power cut", func(t *testing.T, m string) []string { return powerCut(t, m, "ext4", 1, hardest) }},
		{"ack_before_sync", "failing calls", func(t *testing.T, m string) []string { return failingCalls(t, m, 2) }},
		{"skip_dir_sync", "power cut of ext4", func(t *testing.T, m string) []string { return powerCut(t, m, "ext4", 1, hardest) }},
		{"skip_dir_sync", "power cut of xfs", func(t *testing.T, m string) []string { return powerCut(t, m, "xfs", 1, hardest) }},
		{"retry_sync", "failing calls", func(t *testing.T, m string) []string { return failingCalls(t, m, 8) }},
	} {
		t.Run(fmt.Sprintf("%s by %s", c.mutant, c.harness), func(t *testing.T) {
			needs(t, "root", "strace", "xfs_io", "mkfs.ext4", "mkfs.xfs")
			for round := range 15 {
				if faults := c.find(t, c.mutant); len(faults) > 0 {
					t.Logf("found in round %d: %d faults, such as %s", round+1, len(faults), faults[0])
					return
				}
			}
			t.Errorf("the harness does not see the mutation %s", c.mutant)
		})
	}
}
