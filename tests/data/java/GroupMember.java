import java.time.Duration;
import java.util.Collections;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** A member of a group that begins at the end: prints partition and offset of each record, and ends
 *  with its stdin. Under KIP-848, or with a list of assignors by the classic protocol. */
public class GroupMember {
    public static void main(String[] args) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("group.id", args[1]);
        if (args.length > 3) {
            config.put("partition.assignment.strategy", args[3]);
        } else {
            config.put("group.protocol", "consumer");
        }
        config.put("auto.offset.reset", "latest");
        String bytes = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
        config.put("key.deserializer", bytes);
        config.put("value.deserializer", bytes);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config)) {
            consumer.subscribe(Collections.singletonList(args[2]));
            while (System.in.available() == 0) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(50))) {
                    System.out.println(record.partition() + "\t" + record.offset());
                }
                System.out.flush();
            }
        }
    }
}
