// Command bench measures the gateway: what a message costs, how many pass in a
// second, and how long a client waits after the final dot.
//
//	go run ./bench              the report: gateway, source, sink and DNS server on loopback
//	go run ./bench source       the load generator alone, against any SMTP server
//	go run ./bench sink         the next hop alone
//	go run ./bench -peers DIR   beside other mail systems, by scripts that DIR holds
//
// Source and sink are as cheap as they can be, since they share the machine
// with what they measure: on two cores a load of 0.1 ms a message would hide
// a gateway of 0.1 ms. The source numbers the recipients (user+17@mx.test) and
// the sink ticks the numbers off, so that a lost or doubled message is seen
// whatever the rates say. docs/performance.md has the figures.
package main
