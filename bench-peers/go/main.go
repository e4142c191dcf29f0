// Writes and reads records by franz-go, for tests of compressed batches; members of groups by
// franz-go and Sarama.
//
//	franz write BOOTSTRAP TOPIC CODEC LEVEL GROUP  records from stdin, flushed every GROUP of them
//	franz read BOOTSTRAP TOPIC COUNT               the whole topic to stdout
//	franz member CLIENT PROTOCOL BOOTSTRAP GROUP TOPIC  until stdin ends
//
// A line is a record: partition, offset, timestamp in ms, key, value, and name and value of each
// header, separated by tabs. Bytes are hexadecimal, "-" is null. What is written has no partition
// and no offset; its place is printed for each line.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// For everything to be acknowledged, or the next record to be read.
const limit = 40 * time.Second

func main() {
	log.SetFlags(0)
	args := os.Args[1:]
	switch {
	case len(args) == 6 && args[0] == "write":
		write(args[1], args[2], codec(args[3], number(args[4])), number(args[5]))
	case len(args) == 4 && args[0] == "read":
		read(args[1], args[2], number(args[3]))
	case len(args) == 6 && args[0] == "member":
		member(args[1], args[2], args[3], args[4], args[5])
	default:
		log.Fatal("usage: franz write BOOTSTRAP TOPIC CODEC LEVEL GROUP | read BOOTSTRAP TOPIC COUNT | " +
			"member CLIENT PROTOCOL BOOTSTRAP GROUP TOPIC")
	}
}

func codec(name string, level int) kgo.CompressionCodec {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
		"zstd": kgo.ZstdCompression(),
	}
	codec, known := codecs[name]
	if !known {
		log.Fatalf("%s: no codec", name)
	}
	if level >= 0 {
		codec = codec.WithLevel(level)
	}
	return codec
}

func write(bootstrap, topic string, codec kgo.CompressionCodec, group int) {
	client, err := kgo.NewClient(
		brokers(bootstrap), versions(), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(1<<20),
		kgo.ProducerLinger(20*time.Millisecond),
	)
	must(err)
	defer client.Close()
	// Not by RecordDeliveryTimeout, which counts from a record's timestamp.
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var sent []*kgo.Record
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		record := parse(lines.Text())
		sent = append(sent, record)
		client.Produce(ctx, record, func(_ *kgo.Record, err error) { must(err) })
		if len(sent)%group == 0 {
			must(client.Flush(ctx))
		}
	}
	must(lines.Err())
	must(client.Flush(ctx))
	out := bufio.NewWriter(os.Stdout)
	for _, record := range sent {
		fmt.Fprintf(out, "%d\t%d\n", record.Partition, record.Offset)
	}
	must(out.Flush())
}

func read(bootstrap, topic string, count int) {
	client, err := kgo.NewClient(
		brokers(bootstrap), versions(), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	must(err)
	out := bufio.NewWriter(os.Stdout)
	for got := 0; got < count; {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		fetches := client.PollFetches(ctx)
		cancel()
		for _, failed := range fetches.Errors() {
			log.Fatalf("%d of %d records, then partition %d: %v", got, count, failed.Partition, failed.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got++
			fmt.Fprintf(out, "%d\t%d\t%d\t%s\t%s", r.Partition, r.Offset, r.Timestamp.UnixMilli(),
				text(r.Key), text(r.Value))
			for _, header := range r.Headers {
				fmt.Fprintf(out, "\t%s\t%s", text([]byte(header.Key)), text(header.Value))
			}
			fmt.Fprintln(out)
		})
	}
	must(out.Flush())
	client.Close()
}

func brokers(bootstrap string) kgo.Opt {
	return kgo.SeedBrokers(strings.Split(bootstrap, ",")...)
}

// Without ApiVersions 3: librdkafka's mock cluster refuses it with a response that cannot be read.
func versions() kgo.Opt {
	return kgo.MaxVersions(kversion.V2_3_0())
}

func parse(line string) *kgo.Record {
	fields := strings.Split(line, "\t")
	if len(fields) < 3 || len(fields)%2 == 0 {
		log.Fatalf("%d fields", len(fields))
	}
	millis, err := strconv.ParseInt(fields[0], 10, 64)
	must(err)
	record := &kgo.Record{
		Timestamp: time.UnixMilli(millis), Key: bytes(fields[1]), Value: bytes(fields[2]),
	}
	for n := 3; n < len(fields); n += 2 {
		header := kgo.RecordHeader{Key: string(bytes(fields[n])), Value: bytes(fields[n+1])}
		record.Headers = append(record.Headers, header)
	}
	return record
}

func text(bytes []byte) string {
	if bytes == nil {
		return "-"
	}
	return hex.EncodeToString(bytes)
}

func bytes(text string) []byte {
	if text == "-" {
		return nil
	}
	bytes, err := hex.DecodeString(text)
	must(err)
	return bytes
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	must(err)
	return number
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
