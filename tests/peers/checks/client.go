// A client of the check port on Debian's Go gRPC, for the conformance tests: cases in, what came of them out.
//
//	client ADDRESS[,ADDRESS…] < cases > results
//
// Lines and their fields are those of tests/conformance/clients.py. Messages are bytes: what they mean is the test's.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

type rawCodec struct{}

func (rawCodec) Name() string                          { return "proto" }
func (rawCodec) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte{}, data...)
	return nil
}

type test struct {
	name, kind, path                         string
	timeoutMs, cancelAfter, workers, lastsMs int
	gzip                                     bool
	metadata                                 []string
	messages                                 [][]byte
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func parse(line string) test {
	field := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
	one := test{
		name: field[0], kind: field[1], path: field[2], timeoutMs: number(field[3]), cancelAfter: number(field[4]),
		workers: number(field[5]), lastsMs: number(field[6]), gzip: field[7] == "gzip",
	}
	if field[8] != "" {
		for _, pair := range strings.Split(field[8], ",") {
			one.metadata = append(one.metadata, strings.SplitN(pair, "=", 2)...)
		}
	}
	for _, text := range strings.Split(field[9], ",") {
		message, err := hex.DecodeString(text)
		if err != nil {
			log.Fatal(err)
		}
		one.messages = append(one.messages, message)
	}
	return one
}

func run(conn *grpc.ClientConn, one test) (answers [][]byte, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	if one.timeoutMs != 0 {
		ctx, cancel = context.WithTimeout(context.Background(), time.Duration(one.timeoutMs)*time.Millisecond)
	}
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, one.metadata...)
	options := []grpc.CallOption{grpc.ForceCodec(rawCodec{}), grpc.WaitForReady(one.kind == "many")}
	if one.gzip {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	if one.kind == "unary" || one.kind == "many" {
		var answer []byte
		if err = conn.Invoke(ctx, one.path, &one.messages[0], &answer, options...); err == nil {
			answers = append(answers, answer)
		}
		return answers, err
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, one.path, options...)
	if err != nil {
		return nil, err
	}
	answered := make(chan bool, len(one.messages))
	go func() {
		for place := range one.messages {
			if place > 0 && one.kind == "lockstep" {
				<-answered
			}
			if stream.SendMsg(&one.messages[place]) != nil {
				return // what it was is told to who reads
			}
		}
		if one.kind != "hold" {
			stream.CloseSend()
		}
	}()
	for {
		var answer []byte
		if err = stream.RecvMsg(&answer); err != nil {
			if err == io.EOF {
				err = nil
			}
			return answers, err
		}
		answers = append(answers, answer)
		if len(answers) == one.cancelAfter {
			cancel()
		}
		if one.kind == "lockstep" {
			answered <- true
		}
	}
}

// runMany calls by several workers at once: how many ended with which code, a failure, and the answers that differ.
func runMany(conn *grpc.ClientConn, one test) string {
	var mutex sync.Mutex
	var workers sync.WaitGroup
	codes, answers, failure := map[string]int{}, map[string]bool{}, ""
	until := time.Now().Add(time.Duration(one.lastsMs) * time.Millisecond)
	for worker := 0; worker < one.workers; worker++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for again := true; again; again = time.Now().Before(until) {
				found, err := run(conn, one)
				mutex.Lock()
				codes[strconv.Itoa(int(status.Code(err)))]++
				if err != nil {
					failure = hex.EncodeToString([]byte(err.Error()))
				}
				for _, answer := range found {
					answers[hex.EncodeToString(answer)] = true
				}
				mutex.Unlock()
			}
		}()
	}
	workers.Wait()
	var counts, differ []string
	for code, count := range codes {
		counts = append(counts, fmt.Sprintf("%s:%d", code, count))
	}
	for answer := range answers {
		differ = append(differ, answer)
	}
	sort.Strings(counts)
	return strings.Join([]string{one.name, strings.Join(counts, ","), failure, "", strings.Join(differ, ",")}, "\t")
}

func main() {
	servers := manual.NewBuilderWithScheme("servers")
	var state resolver.State
	for _, address := range strings.Split(os.Args[1], ",") {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	servers.InitialState(state)
	conn, err := grpc.Dial("servers:///all", grpc.WithInsecure(), grpc.WithResolvers(servers))
	if err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewReader(os.Stdin); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		one := parse(line)
		if one.kind == "many" {
			fmt.Println(runMany(conn, one))
			continue
		}
		answers, err := run(conn, one)
		told := status.Convert(err)
		details, _ := proto.Marshal(told.Proto())
		texts := make([]string, len(answers))
		for place, answer := range answers {
			texts[place] = hex.EncodeToString(answer)
		}
		fmt.Printf("%s\t%d\t%x\t%x\t%s\n", one.name, told.Code(), told.Message(), details, strings.Join(texts, ","))
	}
}
