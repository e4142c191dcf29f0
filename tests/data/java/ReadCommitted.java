import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Prints the committed records of a topic up to its last stable offset: partition and value. With
 * a number of records as third argument it waits for as many, at most a minute.
 */
public class ReadCommitted {
    public static void main(String[] args) {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("isolation.level", "read_committed");
        config.put("key.deserializer", StringDeserializer.class.getName());
        config.put("value.deserializer", StringDeserializer.class.getName());
        int wanted = args.length > 2 ? Integer.parseInt(args[2]) : 0;
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(config)) {
            List<TopicPartition> all = new ArrayList<>();
            consumer.partitionsFor(args[1])
                .forEach(at -> all.add(new TopicPartition(at.topic(), at.partition())));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long until = System.currentTimeMillis() + 60_000;
            int count = 0;
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            while (count < wanted && System.currentTimeMillis() < until || behind(consumer, ends)) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    count++;
                    System.out.println(record.partition() + "\t" + record.value());
                }
                ends = consumer.endOffsets(all);
            }
        }
    }

    private static boolean behind(KafkaConsumer<?, ?> consumer, Map<TopicPartition, Long> ends) {
        return ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue());
    }
}
