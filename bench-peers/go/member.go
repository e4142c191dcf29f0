package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"sync"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A member of a group: prints partition and offset of each record, and leaves when stdin ends.
func member(client, protocol, bootstrap, group, topic string) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	switch client {
	case "franz":
		franzMember(ctx, protocol, bootstrap, group, topic)
	case "sarama":
		saramaMember(ctx, bootstrap, group, topic)
	default:
		log.Fatalf("%s: no client", client)
	}
}

var printing sync.Mutex

func show(partition int32, offset int64) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Printf("%d\t%d\n", partition, offset)
}

func franzMember(ctx context.Context, protocol, bootstrap, group, topic string) {
	opts := []kgo.Opt{
		brokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.ClientID("theirs"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
	}
	switch protocol {
	case "consumer":
		opts = append(opts, kgo.ServerSideBalancer())
	case "cooperative":
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	default:
		opts = append(opts, kgo.Balancers(kgo.RangeBalancer()))
	}
	client, err := kgo.NewClient(opts...)
	must(err)
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		for _, failed := range fetches.Errors() {
			if ctx.Err() == nil {
				fmt.Printf("# partition %d: %v\n", failed.Partition, failed.Err)
			}
		}
		fetches.EachRecord(func(r *kgo.Record) { show(r.Partition, r.Offset) })
	}
	client.Close()
}

type claims struct{}

func (claims) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (claims) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (claims) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		show(m.Partition, m.Offset)
		s.MarkMessage(m, "")
	}
	return nil
}

func saramaMember(ctx context.Context, bootstrap, group, topic string) {
	config := sarama.NewConfig()
	config.ClientID = "theirs"
	config.Consumer.Offsets.Initial = sarama.OffsetNewest
	client, err := sarama.NewConsumerGroup([]string{bootstrap}, group, config)
	must(err)
	for ctx.Err() == nil {
		if err := client.Consume(ctx, []string{topic}, claims{}); err != nil {
			fmt.Printf("# %v\n", err)
		}
	}
	must(client.Close())
}
