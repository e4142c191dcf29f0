import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** Writes transactions to a topic: of three producers at a time, which commit and abort in turn, and
 *  one that stays open at last. Then reads what is committed. Prints a line for each record that was
 *  written: its fate, partition and offset; and for each that was read: "read", partition, offset. */
public class Transactions {
    static Properties config(String bootstrap) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        for (String of : new String[] {"key", "value"}) {
            String name = "org.apache.kafka.common.serialization.ByteArray";
            config.put(of + ".serializer", name + "Serializer");
            config.put(of + ".deserializer", name + "Deserializer");
        }
        return config;
    }

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, int number) {
        Properties config = config(bootstrap);
        config.put("linger.ms", "0");
        if (number >= 0) {
            config.put("transactional.id", "writer-" + number);
            config.put("transaction.timeout.ms", "600000");
            if (number % 2 == 1) {
                config.put("compression.type", "lz4");
            }
        }
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config);
        if (number >= 0) {
            producer.initTransactions();
        }
        return producer;
    }

    static void print(String fate, List<Future<RecordMetadata>> sent) throws Exception {
        for (Future<RecordMetadata> one : sent) {
            RecordMetadata at = one.get();
            System.out.println(fate + "\t" + at.partition() + "\t" + at.offset());
        }
    }

    static List<Future<RecordMetadata>> send(
            KafkaProducer<byte[], byte[]> producer, String topic, int partitions, int count) {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            byte[] value = ("value " + n).getBytes();
            sent.add(producer.send(new ProducerRecord<>(topic, n % partitions, null, value)));
        }
        producer.flush();
        return sent;
    }

    static void read(String bootstrap, String topic, int partitions) {
        Properties config = config(bootstrap);
        config.put("isolation.level", "read_committed");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config)) {
            List<TopicPartition> all = new ArrayList<>();
            for (int n = 0; n < partitions; n++) {
                all.add(new TopicPartition(topic, n));
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            while (all.stream().anyMatch(at -> consumer.position(at) < ends.get(at))) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(50))) {
                    System.out.println("read\t" + r.partition() + "\t" + r.offset());
                }
            }
            ends.forEach((at, end) -> System.out.println("end\t" + at.partition() + "\t" + end));
        }
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String topic = args[1];
        int partitions = Integer.parseInt(args[2]);
        int rounds = Integer.parseInt(args[3]);
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (int n = 0; n < 3; n++) {
            producers.add(producer(bootstrap, n));
        }
        KafkaProducer<byte[], byte[]> plain = producer(bootstrap, -1);
        for (int round = 0; round < rounds; round++) {
            Map<Integer, List<Future<RecordMetadata>>> sent = new HashMap<>();
            for (int n = 0; n < 3; n++) {
                producers.get(n).beginTransaction();
                sent.put(n, send(producers.get(n), topic, partitions, 1 + (round + n) % 5));
            }
            print("committed", send(plain, topic, partitions, 2));
            for (int n = 2; n >= 0; n--) {
                boolean commit = (round + n) % 3 == 0;
                if (commit) {
                    producers.get(n).commitTransaction();
                } else {
                    producers.get(n).abortTransaction();
                }
                print(commit ? "committed" : "aborted", sent.get(n));
            }
        }
        producers.get(0).beginTransaction();
        print("open", send(producers.get(0), topic, partitions, 4));
        print("behind", send(plain, topic, partitions, 4));
        read(bootstrap, topic, partitions);
        System.out.flush();
        Runtime.getRuntime().halt(0); // the transaction stays open
    }
}
