// A registry in Go, written from docs/redis-feed.md alone: rows of stdin as one
// delta to the stream of a feed, with nothing but the standard library.
//
//	REGISTER imei | PAIR imei imsi | BLOCK imei cause authority
package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Field numbers and kinds of Operation.
const (
	kind, imei, imsi, blockCause, authority = 1, 2, 5, 8, 9
	register, block, pair                   = 1, 3, 7
)

func varint(out []byte, value uint64) []byte {
	for value >= 0x80 {
		out = append(out, byte(value)|0x80)
		value >>= 7
	}
	return append(out, byte(value))
}

func number(out []byte, field int, value uint64) []byte {
	return varint(varint(out, uint64(field)<<3), value)
}

func text(out []byte, field int, value []byte) []byte {
	return append(varint(varint(out, uint64(field)<<3|2), uint64(len(value))), value...)
}

func operation(line string) []byte {
	words := strings.Fields(line)
	var row []byte
	switch words[0] {
	case "REGISTER":
		row = number(row, kind, register)
	case "PAIR":
		row = text(number(row, kind, pair), imsi, []byte(words[2]))
	case "BLOCK":
		cause, err := strconv.ParseUint(words[2], 10, 8)
		check(err)
		row = text(number(number(row, kind, block), blockCause, cause), authority, []byte(words[3]))
	default:
		check(fmt.Errorf("%s is no kind", words[0]))
	}
	return text(row, imei, []byte(words[1]))
}

type stream struct {
	connection net.Conn
	answers    *bufio.Reader
	key        string
}

// add appends one message; fields are names and values.
func (s stream) add(fields ...string) {
	words := append([]string{"XADD", s.key, "*"}, fields...)
	var out strings.Builder
	fmt.Fprintf(&out, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(word), word)
	}
	_, err := s.connection.Write([]byte(out.String()))
	check(err)
	answer, err := s.answers.ReadString('\n')
	check(err)
	if answer[0] != '$' {
		check(fmt.Errorf("the server said %s", answer))
	}
	_, err = s.answers.ReadString('\n')
	check(err)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	server := flag.String("server", "127.0.0.1:6379", "address of the server")
	feed := flag.String("feed", "", "name of the feed")
	sequence := flag.Uint64("sequence", 1, "sequence of the delta")
	base := flag.Uint64("base", 0, "sequence it builds on")
	baseHash := flag.String("base-sha256", "", "hash of the delta it builds on")
	until := flag.Uint64("complete-until", 0, "time up to which the feed is complete")
	chunkRows := flag.Int("chunk-rows", 1000, "rows of a chunk")
	flag.Parse()

	connection, err := net.Dial("tcp", *server)
	check(err)
	to := stream{connection, bufio.NewReader(connection), "eir:feed:" + *feed}

	var payloads [][]byte
	rows := 0
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if rows%*chunkRows == 0 {
			payloads = append(payloads, nil)
		}
		last := len(payloads) - 1
		payloads[last] = text(payloads[last], 1, operation(lines.Text()))
		rows++
	}
	check(lines.Err())

	name := make([]byte, 8)
	_, err = rand.Read(name)
	check(err)
	transfer := hex.EncodeToString(name)
	common := func(kind string) []string {
		return []string{"v", "1", "type", kind, "feed", *feed, "sequence", strconv.FormatUint(*sequence, 10)}
	}
	begin := append(common("begin"), "transfer", transfer, "base_sequence", strconv.FormatUint(*base, 10),
		"row_count", strconv.Itoa(rows), "complete_until", strconv.FormatUint(*until, 10))
	if *baseHash != "" {
		begin = append(begin, "base_sha256", *baseHash)
	}
	to.add(begin...)
	content := sha256.New()
	for index, payload := range payloads {
		content.Write(payload)
		to.add(append(common("chunk"), "transfer", transfer, "index", strconv.Itoa(index), "payload", string(payload))...)
	}
	sum := hex.EncodeToString(content.Sum(nil))
	to.add(append(common("commit"), "transfer", transfer, "chunk_count", strconv.Itoa(len(payloads)), "content_sha256", sum)...)
	if *until > 0 {
		to.add(append(common("heartbeat"), "complete_until", strconv.FormatUint(*until, 10))...)
	}
	fmt.Println(sum)
}
