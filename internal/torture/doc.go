// Package torture proves the queue's promises on the real file system with the
// built binary: it kills it, makes its system calls fail, cuts the power of its
// disk and fills it, under SMTP load, and compares what was acknowledged with
// what came out. There is nothing in it but tests.
//
//	kill_test.go    kill -9 at full speed
//	strace_test.go  kill, or an error, at the N-th system call
//	power_test.go   power cuts of ext4 and xfs
//	full_test.go    a full disk
//	second_test.go  a disk that fails for good
//	sealed_test.go  the same with encryption: half of all runs
//	mutant_test.go  gateways that are broken on purpose: the above must notice
//
//	world_test.go   binary, gateway process, what a harness needs
//	load_test.go    clients, next hop, and the book that compares both
//	trace_test.go   reads what strace wrote
//
// All of it runs in a mount namespace of its own, so that no mount and no loop
// device outlives the test, however it ends.
//
//	go test ./internal/torture -v             the form for CI
//	go test ./internal/torture -v -torture    the long form (make torture)
//
// What a machine lacks (root, strace, xfsprogs) is skipped with a word; with
// MAILWEIR_REQUIRE_HARNESS=1 only what its kernel lacks is.
package torture
