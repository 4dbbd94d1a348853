// Package events remembers of each recipient of each message how it came, what
// was decided and what became of it, for `gateway trace`: one row a recipient,
// without body and without subject.
//
// The store is a directory with one SQLite database a UTC day, 2006-01-02.db. A
// row lies in the day of its message's ID, so that what becomes of it days
// later finds its row; a day is dropped whole when it is too old. Addresses are
// kept as domain "@" local-part in lower case: one index then serves the
// questions for an address and for a domain.
//
// Events must never hold up or refuse mail. Received and Finished hand a value
// to one writer goroutine through a bounded queue and never wait; what does not
// fit or cannot be written is counted. The writer commits once a second, with a
// sync: a crash, also one of the machine, loses at most what came in the last
// second or two, and the next start counts what it cost (marker.go).
//
// Several processes may use a store at once: the gateway writes, commands read
// and erase.
package events
