// Package history remembers for some days why each message was treated as it
// was: verdicts with their facts, and delivery attempts, for `gateway why ID`.
//
// It is a directory of one file a UTC day, YYYY-MM-DD.jsonl, that is only ever
// appended to and is deleted whole once everything in it is old enough. A line
// is one entry:
//
//	{"id":"01KA...","kind":"verdict","at":"2026-11-21T23:18:12.000123Z","data":{...}}\n
//
// or, where Keys seal it with AES-256-GCM under the key of the day,
//
//	{"id":"01KA...","kind":"verdict","at":"2026-11-21T23:18:12.000123Z","sealed":"base64 of nonce [12], data, tag [16]"}\n
//
// whose additional data is all before ,"sealed": Verdicts name clients and mail
// addresses all over their facts; sealed they tell nobody without the key, and
// nobody at all once that is destroyed, with the file. Readers get the first form.
//
// The ID stands first and at a fixed offset, so that Find looks at 34 octets of
// each line and decodes only those that it returns. An entry lies in the file
// of its own day: an attempt days later is found because Find reads from the
// day in the ID on.
//
// History must never hold up or refuse mail. Append hands the value to one
// writer goroutine through a bounded queue and never waits; what does not fit,
// or cannot be written, is counted and said in the log once a minute. The
// writer appends once a second, or sooner when 512 entries wait, without fsync:
// a crash loses at most that, and a line that it tore is skipped.
//
// Not here: the mail's body, or anything needed to deliver a message. That is
// the queue's, and durable.
package history
