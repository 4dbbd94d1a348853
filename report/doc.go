// Package report makes and sends DMARC aggregate reports (RFC 9990): once a
// day, to each domain whose policy record asks for it, what came in its name.
//
// Nothing is collected for it while mail arrives. The history keeps the facts of
// every verdict anyhow, and with reports switched on the policy record too: a
// report is the sum of a UTC day's verdicts, made when the day is over. What the
// history can lose in a crash, which is what it had gathered in a second, a
// report can be short of; an entry that is on the disk is counted once.
//
// Who gets what:
//
//	event.go        a verdict of the history, and what of it may be told
//	collect.go      a day's verdicts -> one Report for each policy domain
//	xml.go          the Report as the schema of RFC 9990 wants it
//	message.go      gzip, MIME, and the names that the RFC prescribes
//	destination.go  rua -> addresses; those outside must have agreed
//	journal.go      what was done about a day, durable
//	reporter.go     when, how fast, and what to do again
//
// A report has one ID, made of the domain and the day. A crash between the queue
// having it and the journal saying so sends it twice under that ID, which is
// what the ID is for ("Handling of Duplicates").
//
// Not here: reports that others send to us, and failure reports (RFC 9991),
// which tell of single messages.
package report
