// Package dnstest is a DNS server on loopback that answers, over UDP, TCP and TLS,
// from a zone text as a recursive server would, and lies on demand.
//
// A zone text has one master-file line per record (RFC 1035 section 5), with
// full names (a trailing dot is not needed on the left) and optional TTL:
//
//	example.org        300 TXT "v=spf1 mx -all"
//	example.org        MX  10 mx.example.org.
//	*.wild.example     A   192.0.2.1
//	a\032b.example     TXT "a name with a space"
//	2.0.0.127.bl.example A 127.0.0.2
//	1.2.0.192.in-addr.arpa PTR mail.example.org.
//
// and lines that begin with "!" for misbehaviour, optionally for one type
// only and for the first N queries only:
//
//	!drop      slow.example            no answer at all
//	!late      slow.example 700ms      the answer comes late
//	!servfail  broken.example TXT      that code; also !refused, !formerr
//	!truncate  big.example             TC over UDP, the answer over TCP
//	!cut       big.example             TC over UDP, and nothing over TCP
//	!wrongid   spoof.example           the reply has another id
//	!wrongname spoof.example           the reply has another question
//	!garbage   noise.example           the reply's records are noise
//	!huge      huge.example            a TXT answer of nearly 64 KiB
//	!hangup    gone.example            the connection is closed; over UDP no answer
//	!ad        signed.example          the answer claims to be validated (no fault)
//	!servfail  flaky.example *1        only the first query
//	!drop      *.dead.example          all names below
//
// A CNAME loop needs no fault: write the records, and the server follows them
// until it is tired, as some do.
package dnstest
