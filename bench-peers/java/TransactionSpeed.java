import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Commits transactions of as many records each, and prints the seconds of each one that counts. */
public class TransactionSpeed {
    public static void main(String[] args) {
        String topic = args[1];
        int records = Integer.parseInt(args[2]);
        byte[] value = new byte[Integer.parseInt(args[3])];
        int transactions = Integer.parseInt(args[4]);
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("transactional.id", topic);
        config.put("linger.ms", "5");
        config.put("batch.size", "65536");
        ByteArraySerializer bytes = new ByteArraySerializer();
        StringBuilder out = new StringBuilder();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config, bytes, bytes)) {
            producer.initTransactions();
            for (int number = 0; number < transactions + transactions / 5; number++) {
                long began = System.nanoTime();
                producer.beginTransaction();
                for (int n = 0; n < records; n++) {
                    producer.send(new ProducerRecord<>(topic, value));
                }
                producer.commitTransaction();
                if (number >= transactions / 5) {
                    out.append((System.nanoTime() - began) / 1e9).append('\n');
                }
            }
        }
        System.out.print(out);
    }
}
